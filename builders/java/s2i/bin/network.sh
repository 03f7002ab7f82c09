# Read by assemble: mirrors, proxies and certificates, as the environment names them and as Java wants them.

# What every JVM of the build is told. It shows in the list of processes, so it holds no login.
jvm_options() {
    echo "-XX:-UsePerfData -Duser.home=$HOME -Djava.io.tmpdir=$scratch/tmp"
    if [ -f "$scratch/trust.p12" ]; then
        echo "-Djavax.net.ssl.trustStore=$scratch/trust.p12 -Djavax.net.ssl.trustStoreType=PKCS12"
    fi
    if [ "${level:-17}" -lt 17 ]; then
        echo "$opens"
    fi
}

# A JVM heeds no bundle of certificates, and keytool would have to be started for each certificate in it.
make_trust_store() {
    if [ -n "${SSL_CERT_FILE:-}" ]; then
        openssl pkcs12 -export -nokeys -nomac -certpbe NONE -passout pass: -jdktrust anyExtendedKeyUsage \
            -in "$SSL_CERT_FILE" -out "$scratch/trust.p12" || fail "SSL_CERT_FILE names no readable certificates"
    fi
}

# Small letters first, as curl has it. A SOCKS proxy is none for HTTP.
proxy_for() {
    case $1 in
        http) proxy=${http_proxy:-${HTTP_PROXY:-${all_proxy:-${ALL_PROXY:-}}}} ;;
        https) proxy=${https_proxy:-${HTTPS_PROXY:-${all_proxy:-${ALL_PROXY:-}}}} ;;
    esac
    case $proxy in socks*) ;; *) printf '%s\n' "${proxy:-$(proxy_in_parts)}" ;; esac
}

# As the forms of KubeSphere's images ask for it.
proxy_in_parts() {
    [ -n "${HTTP_PROXY_HOST:-}" ] || return 0
    login=${HTTP_PROXY_USERNAME:+$(escaped "$HTTP_PROXY_USERNAME"):$(escaped "${HTTP_PROXY_PASSWORD:-}")@}
    printf 'http://%s%s:%s\n' "$login" "$HTTP_PROXY_HOST" "${HTTP_PROXY_PORT:-80}"
}

# NO_PROXY in Java's way of writing: a name stands for what is below it as well. Java knows no networks.
hosts_without_proxy() {
    printf '%s\nlocalhost\n127.*\n' "${no_proxy:-${NO_PROXY:-${HTTP_PROXY_NONPROXYHOSTS:-}}}" | tr -s ', |' '\n\n\n' |
        sed -E '/^$|\//d; s/:[0-9]+$//; s/^\*?\.//; /\*/!s/.*/&|*.&/' | paste -sd '|' -
}

# $address without the login, $host, $port, $user and $password of a URL.
take_apart() {
    case $1 in
        *://*) scheme_of_url=${1%%://*} rest=${1#*://} ;;
        *) scheme_of_url=http rest=$1 ;;
    esac
    authority=${rest%%/*}
    path=${rest#"$authority"} user='' password=''
    case $authority in
        *@*)
            login=${authority%@*} authority=${authority##*@}
            user=$(unescaped "${login%%:*}")
            case $login in *:*) password=$(unescaped "${login#*:}") ;; esac
            ;;
    esac
    address=$scheme_of_url://$authority$path
    host=${authority%:*} port=${authority##*:}
    case $port in
        "$authority" | *[!0-9]*)
            host=$authority
            case $scheme_of_url in https) port=443 ;; *) port=80 ;; esac
            ;;
    esac
}

unescaped() {
    printf '%s' "$1" | perl -pe 's/%([0-9A-Fa-f]{2})/chr hex $1/ge'
}

escaped() {
    printf '%s' "$1" | perl -pe 's/([^A-Za-z0-9_.-])/sprintf "%%%02X", ord $1/ge'
}
