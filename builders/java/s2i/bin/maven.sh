# Read by assemble: a project that Maven builds, in the version that the distribution has.

# As Maven's makers ship it. The distribution's takes an older transport, which waits half an hour for an answer.
transport='-Dmaven.resolver.transport=native -Daether.connector.requestTimeout=60000'

build_with_maven() {
    read_poms
    choose_level "$(levels_of_poms)"
    use_jdk "$level"
    say "Building with Maven on JDK $jdk${level:+, for Java $level}"
    make_trust_store
    write_maven_settings
    set -- --batch-mode --no-transfer-progress --global-settings "$scratch/settings.xml" $(settings_of_the_project) \
        "-Dmaven.repo.local=$downloads/.m2/repository" $transport $(time_of_the_source)
    given=
    give_release
    give_lombok
    [ -n "${MAVEN_ARGS:-}" ] || say "Tests and other checks are left out (MAVEN_ARGS=verify runs them)"
    goals=${MAVEN_ARGS:-$(usual_goals)}
    # Maven heeds MAVEN_ARGS by itself as well, and would do everything twice.
    MAVEN_OPTS="$(jvm_options) ${MAVEN_OPTS:-}" env -u MAVEN_ARGS mvn "$@" $given $goals ${MAVEN_ARGS_APPEND:-}
}

usual_goals() {
    echo "${MAVEN_S2I_GOALS:-package}" -DskipTests -Dmaven.javadoc.skip=true -Dmaven.source.skip=true \
        -Dcheckstyle.skip=true -Dpmd.skip=true -Dspotbugs.skip=true -Djacoco.skip=true
}

settings_of_the_project() {
    for file in configuration/settings.xml settings.xml; do
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
