# Read by assemble: a project that its own Gradle wrapper builds.

build_with_gradle() {
    properties=gradle/wrapper/gradle-wrapper.properties
    for file in gradlew "$properties" gradle/wrapper/gradle-wrapper.jar; do
        [ -f "$file" ] || fail "$file is missing: Gradle comes by the project's own wrapper, in its own version" \
            "make it with: gradle wrapper, and commit gradlew and gradle/wrapper/"
    done
    choose_level "$(levels_of_gradle)"
    use_jdk "$level"
    choose_jdk_for_gradle
    serve_toolchains
    say "Building with Gradle${gradle:+ $gradle} on JDK $jdk${level:+, for Java $level}"
    make_trust_store
    make_gradle_home
    take_turn "$gradle_downloads"
    take_distribution_from_mirror
    [ -n "${GRADLE_ARGS:-}" ] || say "Tests are left out (GRADLE_ARGS=build runs them)"
    sed -i 's/\r$//' gradlew # as a checkout on Windows leaves it
    GRADLE_USER_HOME="$scratch/gradle" GRADLE_OPTS="$(jvm_options) ${GRADLE_OPTS:-}" \
        sh ./gradlew --no-daemon --console=plain ${GRADLE_ARGS:-build -x test} ${GRADLE_ARGS_APPEND:-}
}

gradle_scripts() {
    find . -type f \( -name '*.gradle' -o -name '*.gradle.kts' \) ! -path '*/node_modules/*' "$@"
}

levels_of_gradle() {
    number="(1\\.)?[0-9]+"
    gradle_scripts -exec grep -Eoh "(JavaLanguageVersion\\.of|jvmToolchain)\\( *$number|VERSION_(1_)?[0-9]+|\
(sourceCompatibility|targetCompatibility|release)( *=|\\.set\\() *['\"]?$number\\b" {} + |
        sed -E 's/VERSION_1_/VERSION_/; s/.*[^0-9.]//'
}

# A Gradle that is too old for the JDK of its project finds that one by itself, as a toolchain.
choose_jdk_for_gradle() {
    gradle=$(sed -nE 's/^distributionUrl=.*gradle-([0-9][0-9.]*)(-[^/]*)?\.zip.*/\1/p' "$properties")
    if [ -n "$gradle" ] && [ "$jdk" -gt 21 ] && older "$gradle" "${least_gradle:-0}"; then
        use_jdk 21
    fi
    if [ -n "$gradle" ] && older "$gradle" "${least_gradle:-0}"; then
        status=$no_jdk_serves
        fail "Gradle $gradle runs on none of the JDKs here: $jdks" \
            "the nearest that does is $least_gradle; to take it: ./gradlew wrapper --gradle-version $least_gradle"
    fi
}

# A toolchain is exactly one version of Java, for which Gradle would fetch a JDK. A later one compiles the same.
serve_toolchains() {
    asks='(JavaLanguageVersion\.of|jvmToolchain)\( *'
    for wanted in $(gradle_scripts -exec grep -Eoh "$asks[0-9]+" {} + | sed -E 's/.*[^0-9]//' | sort -u); do
        case " $jdks " in
            *" $wanted "*) ;;
            *)
                say "The toolchain for Java $wanted is JDK $jdk"
                gradle_scripts -exec sed -Ei "s/$asks$wanted\\b/\\1($jdk/" {} +
                ;;
        esac
    done
}

# Its settings may hold a login, and its downloads may be kept: so they do not lie together.
make_gradle_home() {
    mkdir -p "$scratch/gradle/init.d" "$gradle_downloads/caches" "$gradle_downloads/wrapper"
    ln -s "$gradle_downloads/caches" "$gradle_downloads/wrapper" "$scratch/gradle/"
    if [ -f "$scratch/trust.p12" ]; then
        properties_of_gradle "javax.net.ssl.trustStore=$scratch/trust.p12" javax.net.ssl.trustStoreType=PKCS12
    fi
    for scheme in http https; do gradle_proxy "$scheme"; done
    cat >"$scratch/gradle/init.d/s2i.gradle" <<'GROOVY'
def mirror = System.getenv('MAVEN_MIRROR_URL')
def central = new URI(ArtifactRepositoryContainer.MAVEN_CENTRAL_URL)
def isCentral = { it.name == ArtifactRepositoryContainer.DEFAULT_MAVEN_CENTRAL_REPO_NAME || it.url.host == central.host }
def redirect = { repository ->
    if (mirror && repository instanceof MavenArtifactRepository && isCentral(repository)) {
        def address = new URI(mirror)
        repository.url = new URI(address.scheme, null, address.host, address.port, address.path, null, null)
        repository.allowInsecureProtocol = address.scheme == 'http'
        if (address.userInfo) {
            def login = address.userInfo.split(':', 2)
            repository.credentials { username = login[0]; password = login.length > 1 ? login[1] : '' }
        }
    }
}
settingsEvaluated { settings ->
    settings.pluginManagement.repositories.all(redirect)
    settings.dependencyResolutionManagement.repositories.all(redirect)
}
allprojects {
    buildscript.repositories.all(redirect)
    repositories.all(redirect)
    tasks.withType(AbstractArchiveTask).configureEach { preserveFileTimestamps = false; reproducibleFileOrder = true }
}
GROOVY
}

gradle_proxy() {
    take_apart "$(proxy_for "$1")"
    [ -n "$host" ] || return 0
    properties_of_gradle "$1.proxyHost=$host" "$1.proxyPort=$port" "http.nonProxyHosts=$(hosts_without_proxy)"
    if [ -n "$user" ]; then # Java has passwords for proxies switched off
        properties_of_gradle "$1.proxyUser=$user" "$1.proxyPassword=$password" \
            jdk.http.auth.tunneling.disabledSchemes=
    fi
}

# The source leads to a file in the scratch directory, since the address is nobody's business afterwards. The login is
# not in it: the wrapper prints the address where a checksum is wrong.
take_distribution_from_mirror() {
    if [ -n "${GRADLE_DISTRIBUTION_MIRROR:-}" ]; then
        take_apart "${GRADLE_DISTRIBUTION_MIRROR%/}"
        sed -n '/^distributionUrl=/!p' "$properties" >"$scratch/wrapper.properties"
        archive=$(sed -n 's|^distributionUrl=.*/||p' "$properties")
        printf 'distributionUrl=%s\n' "$address/$archive" >>"$scratch/wrapper.properties"
        ln -sf "$scratch/wrapper.properties" "$properties"
        [ -z "$user" ] || properties_of_gradle "gradle.wrapperUser=$user" "gradle.wrapperPassword=$password"
    fi
}

properties_of_gradle() {
    printf 'systemProp.%s\n' "$@" | sed 's/\\/&&/g' >>"$scratch/gradle/gradle.properties"
}
