# Read by assemble: a project that Maven builds, in the version that the distribution has.

# The distribution's Maven has its older transport alone, whatever maven.resolver.transport says. That one waits half an
# hour for an answer, and asks again only for what it is told to.
patience='-Dmaven.wagon.rto=20000 -Dmaven.wagon.http.retryHandler.class=default
    -Dmaven.wagon.http.retryHandler.nonRetryableClasses=java.net.UnknownHostException'

build_with_maven() {
    read_poms
    choose_level "$(levels_of_poms)"
    use_jdk "$level"
    say "Building with Maven on JDK $jdk${level:+, for Java $level}"
    make_trust_store
    write_maven_settings
    take_turn "$maven_downloads"
    forget_installed
    given=
    give_release
    give_lombok
    [ -n "${MAVEN_ARGS:-}" ] || say "Tests and other checks are left out (MAVEN_ARGS=verify runs them)"
    goals=${MAVEN_ARGS:-$(usual_goals)}
    # Snapshots, and what was not there yesterday, are asked for each time, as they would be by an empty repository.
    set -- --batch-mode --no-transfer-progress --update-snapshots --global-settings "$scratch/settings.xml"
    [ "${DISABLE_ARTIFACTS:-}" = true ] || set -- "$@" "-Dmaven.repo.local=${MAVEN_LOCAL_REPO:-$maven_downloads}"
    settings=$(settings_of_the_project)
    set -- "$@" $settings $patience $(time_of_the_source) $given $goals ${MAVEN_ARGS_APPEND:-}
    for attempt in 1 2 3; do
        ! run_maven "$@" || return 0
        [ "$attempt" -lt 3 ] && the_network_failed || break
        say "The network failed: trying once more, with what has arrived"
    done
    exit "$(cat "$scratch/ended")"
}

# Maven heeds MAVEN_ARGS by itself as well, and would do everything twice. Most builds are over before the JVM's better
# compiler has paid for itself; -XX:TieredStopAtLevel=4 in MAVEN_OPTS brings it back.
run_maven() {
    rm -f "$scratch/ended"
    options="$(jvm_options) -XX:TieredStopAtLevel=1 ${MAVEN_OPTS:-}"
    { MAVEN_OPTS=$options env -u MAVEN_ARGS mvn "$@" || echo $? >"$scratch/ended"; } | tee "$scratch/log"
    [ ! -f "$scratch/ended" ]
}

# No answer to several questions, or one that broke off half-way. The transport keeps the reason to itself.
the_network_failed() {
    reasons='GET request of.* failed|transfer failed for [^ ,]*( ->|, proxy:|$)|timed out|status: 50[0234]'
    grep -Eq "Could not transfer .*($reasons)" "$scratch/log"
}

# What the project itself installed here is no download: a later build would take it for a module that it leaves out.
forget_installed() {
    mkdir -p "$maven_downloads"
    grep -rlZ '>=$' --include=_remote.repositories "$maven_downloads" | xargs -0r dirname -z | xargs -0r rm -rf
    find "$maven_downloads" -name maven-metadata-local.xml -delete
}

usual_goals() {
    echo "${MAVEN_S2I_GOALS:-package}" -DskipTests -Dmaven.javadoc.skip=true -Dmaven.source.skip=true \
        -Dcheckstyle.skip=true -Dpmd.skip=true -Dspotbugs.skip=true -Djacoco.skip=true
}

settings_of_the_project() {
    if [ -n "${MAVEN_SETTINGS_XML:-}" ] && [ ! -f "$MAVEN_SETTINGS_XML" ]; then
        fail "MAVEN_SETTINGS_XML names $MAVEN_SETTINGS_XML, and there is no such file in the source"
    fi
    for file in "${MAVEN_SETTINGS_XML:-configuration/settings.xml}" settings.xml; do
        if [ -f "$file" ]; then
            echo --settings "$file"
            return
        fi
    done
}

# Without it each build stamps its jars with the time of day.
time_of_the_source() {
    if [ -n "${SOURCE_DATE_EPOCH:-}" ] && [ -z "$(property project.build.outputTimestamp)" ]; then
        echo "-Dproject.build.outputTimestamp=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
    fi
}

# Where only source and target are set, the compiler still takes the JDK's own classes, with what they gained and lost
# since that level. Code that reaches for what --release hides is left as it is.
give_release() {
    if [ -z "$level" ] || { [ "$level" = "$found" ] && is_left_as_it_is; }; then
        return
    fi
    say "Compiling with --release $level"
    given="-Dmaven.compiler.release=$level"
}

is_left_as_it_is() {
    [ "$level" = "$jdk" ] || sets_release || wants_internals || wants_lost_modules
}

wants_internals() {
    grep -q -e --add-exports "$scratch/poms" ||
        imports 'sun\.|com\.sun\.(image|tools|org\.apache)\.|jdk\.internal\.' >/dev/null
}

# --release would let these be compiled, and missed only when the application runs.
wants_lost_modules() {
    lost=$(imports 'javax\.(xml\.(bind|ws|soap)|jws|activation|annotation\.(PostConstruct|PreDestroy|Resource))\b') ||
        return 1
    say "Java has these no more since 11, so they must be among the dependencies: $(echo "$lost" | listed)"
}

imports() {
    grep -Erhos --include='*.java' "^import +(static +)?($1)" . |
        sed -E 's/^import +(static +)?//' | LC_ALL=C sort -u | grep .
}

# Lombok works inside the compiler, and each compiler wants one that knows it.
give_lombok() {
    grep -q '^<artifactId>lombok$' "$scratch/poms" || return 0
    version=$(version_beside lombok)
    name=lombok.version
    case $version in
        '${'*) name=$(reference "$version") && version=$(property "$name") ;;
        '') version=$(property "$name") ;;
        *) name= ;;
    esac
    boot=$(resolved "$(version_beside 'spring-boot-\(starter-parent\|dependencies\)')")
    if [ -n "$version" ]; then
        which="Lombok $version" known=$version least=$least_lombok
    else
        which="The Lombok of Spring Boot $boot" known=$boot least=$least_boot
    fi
    if [ -z "$known" ] || [ -z "$least" ] || ! older "$known" "$least"; then
        return 0
    elif [ -z "$name" ]; then
        say "$which does not work on JDK $jdk: the first that does is $least_lombok"
    else
        say "$which does not work on JDK $jdk: taking $LOMBOK (MAVEN_ARGS_APPEND=-D$name=VERSION chooses another)"
        given="$given -D$name=$LOMBOK"
    fi
}

# ------------------------------------------------------------------------------------- settings, with their logins

# In the place of Maven's own global settings: the project's settings come on top, and win. As there, a repository
# that is reached without TLS is refused.
write_maven_settings() {
    {
        echo '<settings>'
        if [ -n "${MAVEN_MIRROR_URL:-}" ]; then
            take_apart "$MAVEN_MIRROR_URL"
            printf '<servers><server><id>s2i-mirror</id>%s</server></servers>\n' "$(login_in_xml)"
        fi
        echo '<mirrors>'
        if [ -n "${MAVEN_MIRROR_URL:-}" ]; then
            echo '<mirror><id>s2i-mirror</id><mirrorOf>external:*</mirrorOf>'
            printf '<url>%s</url></mirror>\n' "$(xml "$address")"
        fi
        echo '<mirror><id>maven-default-http-blocker</id><mirrorOf>external:http:*</mirrorOf>'
        echo '<url>http://0.0.0.0/</url><blocked>true</blocked></mirror></mirrors><proxies>'
        for scheme in http https; do maven_proxy "$scheme"; done
        echo '</proxies></settings>'
    } >"$scratch/settings.xml"
}

maven_proxy() {
    take_apart "$(proxy_for "$1")"
    if [ -n "$host" ]; then
        printf '<proxy><id>s2i-%s</id><protocol>%s</protocol><host>%s</host><port>%s</port>%s\n' \
            "$1" "$1" "$(xml "$host")" "$port" "$(login_in_xml)"
        printf '<nonProxyHosts>%s</nonProxyHosts></proxy>\n' "$(xml "$(hosts_without_proxy)")"
    fi
}

login_in_xml() {
    [ -z "$user" ] || printf '<username>%s</username><password>%s</password>' "$(xml "$user")" "$(xml "$password")"
}

xml() {
    printf '%s' "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'
}

# -------------------------------------------------------------------------------------------------- reading poms

# All poms of the project in one file, on each line an element's name and its text; comments are left out.
read_poms() {
    find . -name pom.xml ! -path '*/target/*' ! -path '*/src/*' -exec cat {} + |
        sed -zE 's/<!--([^-]|-[^-])*-->//g; s/[[:space:]]+/ /g; s| ?</[^>]*>||g; s/ ?<([^>]*)> ?/\n<\1>/g; s/ ?$/\n/' \
            >"$scratch/poms"
}

levels_of_poms() {
    sed -nE 's/^<(maven\.compiler\.(release|source|target)|java\.version|release|source|target)>//p' "$scratch/poms" |
        while read -r value; do resolved "$value"; done
}

sets_release() {
    grep -Eq '^<(maven\.compiler\.)?release>[0-9$]' "$scratch/poms"
}

property() {
    sed -n "s|^<$1>||p" "$scratch/poms" | head -n 1
}

version_beside() {
    sed -n "/^<artifactId>$1\$/{n;s/^<version>//p;}" "$scratch/poms" | head -n 1
}

# What a value means, be it a number or the name of a property that is one.
resolved() {
    case $1 in
        '${'*) property "$(reference "$1")" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

reference() {
    printf '%s' "$1" | tr -cd '[:alnum:]._-'
}
