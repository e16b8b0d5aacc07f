import { readFileSync } from 'node:fs'
import { isErrno } from '../errors.js'

/** Whether something is mounted exactly at `path`, an absolute path without symlinks, in this process's mount namespace. */
export function isMountPoint(path: string): boolean {
  return mountPoints().includes(path)
}

/** Mount points below `path`, an absolute path without symlinks, the deepest first. `path` itself is not listed. */
export function mountPointsBelow(path: string): string[] {
  const prefix = path.endsWith('/') ? path : `${path}/`
  return mountPoints()
    .filter((point) => point.startsWith(prefix))
    .toSorted((one, other) => other.split('/').length - one.split('/').length)
}

/** Empty where there is no `/proc`. A mount point with several mounts on it is listed several times. */
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
