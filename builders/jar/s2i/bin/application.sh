# Read by assemble and run: which of the deployments is started, and what it says of itself. Of a jar only its manifest
# and one class are looked at, by unzip: that takes a blink, where a JVM would take as long again as the start itself.

# What any code could reach into until Java 17, and frameworks of that time do reach into.
OPENS='java.io java.lang java.lang.invoke java.lang.reflect java.math java.net java.nio java.text java.time java.util
    java.util.concurrent sun.nio.ch sun.util.calendar'
BOOT_THAT_KNOWS_17=2.5.5

say() {
    echo "---> $*"
}

fail() {
    echo "error: $1" >&2
    shift
    for line in "$@"; do echo "       $line" >&2; done
    exit 1
}

# Into $application, a jar, a war or a directory where one lies unpacked; $main, the class that Java is told; $own, that
# of the application where the first one only starts it; $boot, the version of Spring Boot.
find_application() {
    if [ -n "${JAVA_APP_JAR:-}" ]; then
        case $JAVA_APP_JAR in /*) application=$JAVA_APP_JAR ;; *) application=$JAVA_APP_DIR/$JAVA_APP_JAR ;; esac
        [ -e "$application" ] || fail "JAVA_APP_JAR names $JAVA_APP_JAR, and there is no such file in $JAVA_APP_DIR"
        manifest=$(manifest)
    else
        choose_application
    fi
    main=$(said Main-Class) own=$(said Start-Class) boot=$(said Spring-Boot-Version)
    own=${own:-$main}
}

choose_application() {
    candidates=0 libraries='' found=''
    for candidate in "$JAVA_APP_DIR"/*.jar "$JAVA_APP_DIR"/*.war "$JAVA_APP_DIR"/META-INF "$JAVA_APP_DIR"/*/META-INF; do
        [ -e "$candidate" ] || continue # the pattern itself, where nothing fits it
        application=${candidate%/META-INF}
        manifest=$(manifest)
        if [ -n "$(said Main-Class)" ]; then
            candidates=$((candidates + 1)) found=$application manifest_found=$manifest
            names="${names:+$names, }${application##*/}"
        else
            libraries="${libraries:+$libraries, }${application##*/}"
        fi
    done
    case $candidates in
        0) fail_without_any ;;
        1) application=$found manifest=$manifest_found ;;
        *) fail "several of these can be started: $names" "say which: --env JAVA_APP_JAR=FILE" ;;
    esac
}

fail_without_any() {
    if [ -n "$libraries" ]; then
        fail "nothing says what to start: there is no Main-Class in $libraries" \
            "name the class: --env JAVA_MAIN_CLASS=com.example.Main" \
            "a war that does not start by itself is for the builder tomcat"
    fi
    fail "there is no jar in $JAVA_APP_DIR" "s2ictl b2i FILE.jar makes an image of one"
}

# What is said of the whole application: folded lines are made one, and the sections of single files left out.
manifest() {
    content META-INF/MANIFEST.MF | head -c 1000000 | tr -d '\r' |
        awk '/^$/ { exit } /^ / { line = line substr($0, 2); next } { print line; line = $0 } END { print line }'
}

said() {
    printf '%s\n' "$manifest" | sed -n "s/^$1: *//Ip" | head -n 1
}

# The first of these files that the application has.
content() {
    if [ -d "$application" ]; then
        for file in "$@"; do
            if [ -f "$application/$file" ]; then cat "$application/$file" && return; fi
        done
    else
        unzip -p "$application" "$@" 2>/dev/null || true
    fi
}

# The Java for which the application's own class was made; each level is one more in its eighth byte. 0 where it is not
# there: it may be in a library, or Java's own.
level() {
    path=$(printf '%s' "$own" | tr . /).class
    byte=$(content "BOOT-INF/classes/$path" "WEB-INF/classes/$path" "$path" | od -An -j7 -N1 -tu1 2>/dev/null | tr -d ' ')
    echo $((${byte:-44} - 44))
}

# What was made before Java 17 reaches into Java itself, as it was free to do then.
is_of_before_17() {
    level=$(level)
    { [ "$level" -gt 0 ] && [ "$level" -lt 17 ]; } || older "$boot" "$BOOT_THAT_KNOWS_17"
}

older() {
    [ -n "$1" ] && [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}
