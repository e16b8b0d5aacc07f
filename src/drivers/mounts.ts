import { realpathSync } from 'node:fs'
import { isErrno, StoreError } from '../errors.js'
import { makeReadOnly, unmountIfMounted } from '../sys/mount.js'
import { mountPointsBelow } from '../sys/mount-table.js'

/**
 * Detaches everything mounted below a layer's directory, deepest first. Throws `LAYER_IN_USE`, with the mount's path,
 * if a mount cannot be unmounted.
 */
export function unmountBelow(directory: string): void {
  for (const point of mountPointsBelow(realPath(directory))) {
    try {
      unmountIfMounted(point)
    } catch (cause) {
      throw new StoreError('LAYER_IN_USE', `${point} is mounted inside the layer and cannot be unmounted`, {
        cause,
        path: point,
        hint: 'unmount it, or run as a user that can unmount it',
      })
    }
  }
}

/**
 * Ends a mount whose file system has no other use, with everything mounted below it, after making its superblock
 * read-only. Returns false, and the mount stays, while a program in any mount namespace has a file of it open for
 * writing or mapped.
 */
export function releaseMount(target: string): boolean {
  if (!makeReadOnly(target)) {
    unmountBelow(target)
    return false
  }
  unmountIfMounted(target)
  return true
}

function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return path
    throw error
  }
}
