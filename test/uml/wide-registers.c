/*
 * User-Mode Linux keeps 2696 bytes of a process's floating-point registers, and the host's kernel takes them back only
 * as many as the processor has: with AMX that is 11008. This library, loaded before libc, adds what is missing.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* What is added stays zero: nobody in there asked for AMX. User-Mode Linux traces its processes in one thread. */
static char registers[1 << 16] __attribute__((aligned(64)));
static size_t size;

static long widened(pid_t pid, void *set, struct iovec *given)
{
	struct iovec whole = {registers, sizeof registers};
	if (size == 0 && syscall(SYS_ptrace, PTRACE_GETREGSET, pid, set, &whole) == 0) {
		size = whole.iov_len;
		memset(registers, 0, sizeof registers);
	}
	if (size <= given->iov_len)
		return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, set, given);
	whole.iov_len = size;
	memcpy(registers, given->iov_base, given->iov_len);
	return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, set, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);
	if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE)
		return widened(pid, address, data);
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return syscall(SYS_ptrace, request, pid, address, data);
	long word;
	long result = syscall(SYS_ptrace, request, pid, address, &word);
	return result < 0 ? result : word;
}
