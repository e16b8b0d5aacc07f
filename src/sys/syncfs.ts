import { checked, systemError } from './errno.js'
import { holdingDirectory } from './ioctl.js'
import { bind, bindAsync, type HostPath } from './libc.js'

const PROTOTYPE = 'int syncfs(int fd)'
const call = bind(PROTOTYPE)
const callElsewhere = bindAsync(PROTOTYPE)

/** Writes out everything of the file system that the descriptor is on. Blocks for as long as that takes. */
export function syncfs(fd: number): void {
  checked(call(fd), 'syncfs')
}

/** The same, while this thread goes on. The descriptor stays open until then. */
export async function syncfsElsewhere(fd: number): Promise<void> {
  if ((await callElsewhere(fd)) < 0) throw systemError('EIO', 'syncfs')
}

/** The same for the file system that a directory is on. */
export function syncFileSystemOf(path: HostPath): Promise<void> {
  return holdingDirectory(path, syncfsElsewhere)
}
