import { bind, libcAvailable } from './libc.js'

const call = bind('int sync_file_range(int fd, int64_t offset, int64_t bytes, uint flags)')
const SYNC_FILE_RANGE_WRITE = 2

/** Has the system begin to write a file's content to disk, and waits for nothing. A hint: where it cannot be given, it is not. */
export function beginWriteback(fd: number): void {
  if (libcAvailable().works) call(fd, 0, 0, SYNC_FILE_RANGE_WRITE)
}
