import { readFileSync } from 'node:fs'
import { isErrno } from '../errors.js'

/** Whether `path` is a mount point in this process's mount namespace. `path` must be absolute and without symlinks. */
export function isMountPoint(path: string): boolean {
  return mountPoints().includes(path)
}

/**
 * Returns the mount points below `path`, deepest first, without `path` itself. `path` must be absolute and without
 * symlinks.
 */
export function mountPointsBelow(path: string): string[] {
  const prefix = path.endsWith('/') ? path : `${path}/`
  return mountPoints()
    .filter((point) => point.startsWith(prefix))
    .toSorted((one, other) => other.split('/').length - one.split('/').length)
}

/** Empty without `/proc`. A mount point with several mounts on it is listed several times. */
function mountPoints(): string[] {
  return mountTable()
    .split('\n')
    .map((line) => line.split(' ', 5)[4])
    .filter((point) => point !== undefined)
    .map((point) => (point.includes('\\') ? unescaped(point) : Buffer.from(point, 'latin1').toString()))
}

function mountTable(): string {
  try {
    return readFileSync('/proc/self/mountinfo', 'latin1')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return ''
    throw error
  }
}

/** proc_pid_mountinfo(5) writes space, tab, newline and backslash as octal escapes. */
function unescaped(field: string): string {
  const bytes = field.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
  return Buffer.from(bytes, 'latin1').toString()
}
