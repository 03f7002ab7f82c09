# Read by assemble: what Maven and Gradle download, and what of it outlives the build.
#
# A directory that is a mount is a cache, which other builds of the same application use as well. Any other one would be
# a part of the image, so the scratch directory takes its place, unless the user wants what is there in the image.

choose_downloads() {
    is_cache "$maven_downloads" || [ "${MAVEN_CLEAR_REPO:-true}" = false ] || maven_downloads=$scratch/repository
    is_cache "$gradle_downloads" || [ "${GRADLE_CLEAR_REPO:-true}" = false ] || gradle_downloads=$scratch/.gradle
    take_saved .m2/repository "$maven_downloads"
    take_saved .gradle/caches "$gradle_downloads/caches"
    take_saved .gradle/wrapper "$gradle_downloads/wrapper"
}

take_saved() {
    if [ -d "$uploaded/artifacts/$1" ]; then
        say "Taking what the last build downloaded: ~/$1"
        mkdir -p "$2"
        cp -a "$uploaded/artifacts/$1/." "$2/"
    fi
}

is_cache() {
    mountpoint -q "$1" || mountpoint -q "${1%/*}"
}

# One build at a time: a Gradle asks the one that holds its locks by way of the network, where a container hears nobody,
# and a Maven would find what another has just installed of itself.
take_turn() {
    if is_cache "$1"; then
        exec 9<"$1"
        flock --nonblock 9 || {
            say "Waiting for another build with the same downloads (none waits with --no-cache)"
            flock 9
        }
    fi
}
