import { checked, systemError } from './errno.js'
import { holdingDirectory } from './ioctl.js'
import { bind, bindAsync, type HostPath } from './libc.js'

const PROTOTYPE = 'int syncfs(int fd)'
const call = bind(PROTOTYPE)
const callElsewhere = bindAsync(PROTOTYPE)

/** Syncs the whole file system of the descriptor. Blocks until that is done. */
export function syncfs(fd: number): void {
  checked(call(fd), 'syncfs')
}

/** The same on another thread. The descriptor must stay open until the call ends. */
export async function syncfsElsewhere(fd: number): Promise<void> {
  if ((await callElsewhere(fd)) < 0) throw systemError('EIO', 'syncfs')
}

/** The same for the file system of a directory. */
export function syncFileSystemOf(path: HostPath): Promise<void> {
  return holdingDirectory(path, syncfsElsewhere)
}
