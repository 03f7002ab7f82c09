
_s2ictl_completion() {
    local IFS=$'
'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" \
                   COMP_CWORD=$COMP_CWORD \
                   _S2ICTL_COMPLETE=complete_bash $1 ) )
    return 0
}

complete -o default -F _s2ictl_completion s2ictl

