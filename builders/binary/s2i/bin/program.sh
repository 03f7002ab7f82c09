# Read by assemble and run: which of the files is started.

fail() {
    echo "error: $1" >&2
    shift
    for line in "$@"; do echo "       $line" >&2; done
    exit 1
}

# Into $program: the one file of a directory that is a program; libraries are programs to look at, and never meant. The
# answer is the same at each start, and no file tells it that could be lost.
find_program() {
    program='' names='' found=0
    for file in "$1"/*; do
        case $file in *.so | *.so.*) continue ;; esac
        if [ -f "$file" ] && is_elf "$file"; then
            found=$((found + 1)) program=$file names="${names:+$names, }${file##*/}"
        fi
    done
    [ "$found" -le 1 ] || fail "there are several programs: $names" "leave one of them"
}

is_elf() {
    [ "$(bytes "$1" 0 4)" = 7f454c46 ]
}

bytes() {
    od -An -tx1 -j"$2" -N"$3" "$1" | tr -d ' \n'
}
