import { checked } from './errno.js'
import { bind } from './libc.js'

const call = bind('int syncfs(int fd)')

/** Writes out everything of the file system that the descriptor is on. Blocks for as long as that takes. */
export function syncfs(fd: number): void {
  checked(call(fd), 'syncfs')
}
