"""Which calls of the kernel a container may make, as data: what the container world allows by default.

Any other answers EPERM, but for `clone3`: its flags cannot be looked at from here, so the kernel seems not to have it,
and programs take `clone`, whose flags can. Names that an architecture or an older kernel does not know do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator

_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
_OWN = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
}
_REFUSED, _UNKNOWN = 1, 38  # EPERM, ENOSYS
_NAMESPACES = 0x7E020000  # the flags of clone that make new ones
_VSOCK = 40  # sockets that lead out of a virtual machine
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32 bits, an old release, both; only asked for

_FILES = """
    access chdir chmod chown chown32 chroot close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl
    fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
    ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listxattr llistxattr lremovexattr lseek lsetxattr
    lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 readlink readlinkat
    removexattr rename renameat renameat2 rmdir setxattr stat stat64 statfs statfs64 statx symlink symlinkat sync
    sync_file_range syncfs truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes _llseek
"""
_READING_AND_WRITING = """
    cachestat epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit pipe pipe2
    poll ppoll ppoll_time64 pread64 preadv preadv2 pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead
    readv select sendfile sendfile64 signalfd signalfd4 splice tee vmsplice write writev _newselect
"""
_MEMORY = """
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect
    mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages
"""
_PROCESSES = """
    alarm capget capset execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getegid getegid32
    geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpgid getpgrp getpid getppid getpriority
    getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid getuid getuid32 ioprio_get ioprio_set
    kill landlock_add_rule landlock_create_ruleset landlock_restrict_self pause pidfd_open pidfd_send_signal prctl
    prlimit64 process_vm_readv process_vm_writev ptrace restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid
    setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
    setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 sigaltstack sigprocmask
    sigreturn sysinfo tgkill tkill ugetrlimit uname vfork wait4 waitid waitpid
"""
_TIME = """
    adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 getrandom gettimeofday nanosleep time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
    timerfd_gettime64 timerfd_settime timerfd_settime64 times
"""
_BETWEEN_PROCESSES = """
    accept accept4 bind connect futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake getpeername
    getsockname getsockopt ipc listen mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
    mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd recv recvfrom recvmmsg recvmmsg_time64
    recvmsg semctl semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt
    shmget shutdown socketcall socketpair
"""
_EVERYWHERE = (_FILES, _READING_AND_WRITING, _MEMORY, _PROCESSES, _TIME, _BETWEEN_PROCESSES)


def profile(architecture: str) -> dict[str, object]:
    """The rules for a machine of this architecture, as the runtime is told them."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _REFUSED,
        "architectures": list(_ARCHITECTURES.get(architecture, ())),
        "syscalls": list(_rules(architecture)),
    }


def _rules(architecture: str) -> Iterator[dict[str, object]]:
    names = " ".join((*_EVERYWHERE, _OWN.get(architecture, ""))).split()
    yield {"names": sorted(names), "action": "SCMP_ACT_ALLOW"}
    yield _where("socket", "SCMP_CMP_NE", _VSOCK)
    yield _where("clone", "SCMP_CMP_MASKED_EQ", _NAMESPACES)
    yield from (_where("personality", "SCMP_CMP_EQ", kind) for kind in _PERSONALITIES)
    yield {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _UNKNOWN}


def _where(name: str, comparison: str, value: int) -> dict[str, object]:
    """Allowed by what its first argument is."""
    first = {"index": 0, "value": value, "op": comparison}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [first]}
