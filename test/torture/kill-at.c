/*
 * kill-at CALL REPORT PROGRAM [ARGUMENT...]
 *
 * Runs a program and kills it with all of its threads and children, at the entry of its CALL-th system call that
 * changes a filesystem. The call itself is not executed. Counts the calls of all threads together, from
 * mkdir("/dev/null/arm") to mkdir("/dev/null/disarm"). CALL 0 kills nothing. Writes the number of counted calls to
 * REPORT.
 *
 * A seccomp filter stops the program only at these calls, so it runs at nearly full speed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Calls on a path. */
static const int on_paths[] = {
#ifdef __NR_rename
    __NR_rename, __NR_unlink, __NR_rmdir, __NR_mkdir, __NR_link, __NR_symlink, __NR_mknod, __NR_chmod,
    __NR_chown, __NR_lchown, __NR_creat, __NR_utime, __NR_utimes, __NR_futimesat,
#endif
#ifdef __NR_renameat
    __NR_renameat,
#endif
    __NR_renameat2, __NR_unlinkat, __NR_mkdirat, __NR_linkat, __NR_symlinkat, __NR_mknodat, __NR_fchmodat,
    __NR_fchownat, __NR_utimensat, __NR_truncate, __NR_setxattr, __NR_lsetxattr, __NR_removexattr,
    __NR_lremovexattr, __NR_mount, __NR_umount2,
};

/* Calls on a descriptor, which count if it is of a file or a loop device. */
static const int on_files[] = {
    __NR_write, __NR_pwrite64, __NR_writev, __NR_pwritev, __NR_ftruncate, __NR_fallocate, __NR_fsync,
    __NR_fdatasync, __NR_syncfs, __NR_fchmod, __NR_fchown, __NR_fsetxattr, __NR_fremovexattr, __NR_ioctl,
    __NR_copy_file_range,
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static void trace_calls(void) {
  struct sock_filter code[4 * (COUNT(on_paths) + COUNT(on_files)) + 16];
  size_t at = 0;
#define ADD(...) code[at++] = (struct sock_filter)__VA_ARGS__
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
  for (size_t i = 0; i < COUNT(on_paths) + COUNT(on_files); i++) {
    int nr = i < COUNT(on_paths) ? on_paths[i] : on_files[i - COUNT(on_paths)];
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  }
  /* An open counts if it may create or truncate a file. */
#ifdef __NR_open
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_open, 0, 3));
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])));
  ADD(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_CREAT | O_TRUNC, 5, 0));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
#endif
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_openat, 0, 2));
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])));
  ADD(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_CREAT | O_TRUNC, 1, 0));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  struct sock_fprog program = {.len = at, .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
    perror("seccomp");
    _exit(125);
  }
}

static int is_one_of(const int *list, size_t count, unsigned long long nr) {
  for (size_t i = 0; i < count; i++)
    if ((unsigned long long)list[i] == nr) return 1;
  return 0;
}

static int is_file(pid_t pid, unsigned long long fd) {
  char path[64], target[32] = "";
  snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, (int)fd);
  if (readlink(path, target, sizeof target - 1) < 0) return 0;
  return target[0] == '/' && (strncmp(target, "/dev/", 5) != 0 || strncmp(target, "/dev/loop", 9) == 0);
}

static int names(pid_t pid, unsigned long long address, const char *text) {
  char found[32] = "";
  size_t size = strlen(text) + 1;
  struct iovec to = {found, size}, from = {(void *)(unsigned long)address, size};
  return process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)size && strcmp(found, text) == 0;
}

static long counted, wanted;
static int armed;

/* Whether to kill the program at this call. */
static int is_last(pid_t pid) {
  struct __ptrace_syscall_info info;
  if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0) return 0;
  unsigned long long nr = info.seccomp.nr, *args = (unsigned long long *)info.seccomp.args;
#ifdef __NR_mkdir
  int is_mark = nr == __NR_mkdir, path = 0;
#else
  int is_mark = nr == __NR_mkdirat, path = 1;
#endif
  if (is_mark && names(pid, args[path], "/dev/null/arm")) armed = 1;
  else if (is_mark && names(pid, args[path], "/dev/null/disarm")) armed = 0;
  else if (armed && (!is_one_of(on_files, COUNT(on_files), nr) || is_file(pid, args[0]))) counted++;
  else return 0;
  return armed && wanted > 0 && counted == wanted;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  wanted = atol(argv[1]);
  pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    trace_calls();
    execvp(argv[3], argv + 3);
    _exit(127);
  }
  int status, code = 126;
  if (waitpid(child, &status, 0) != child) return 126;
  long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                 PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, child, 0, options)) return 126;
  ptrace(PTRACE_CONT, child, 0, 0);
  for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (pid == child) {
        code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        break;
      }
      continue;
    }
    int event = status >> 16, signal = WSTOPSIG(status);
    if (event == PTRACE_EVENT_SECCOMP && is_last(pid)) {
      kill(child, SIGKILL);
      continue;
    }
    /* A new thread starts with a stop without a signal. */
    int forwarded = event != 0 || signal == SIGSTOP || signal == SIGTRAP ? 0 : signal;
    ptrace(PTRACE_CONT, pid, 0, forwarded);
  }
  FILE *report = fopen(argv[2], "w");
  if (report == NULL) return 126;
  fprintf(report, "%ld\n", counted);
  fclose(report);
  return code;
}
