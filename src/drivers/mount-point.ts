import { readFileSync } from 'node:fs'
import { isErrno } from '../errors.js'

/** Whether something is mounted exactly there, as this process sees it. */
export function isMountPoint(path: string): boolean {
  const wanted = path.replaceAll(/[ \t\n\\]/g, octal)
  return mountTable()
    .split('\n')
    .some((line) => line.split(' ', 5)[4] === wanted)
}

/** The fifth field of a line is where the mount is, with some characters as `\040`. */
function mountTable(): string {
  try {
    return readFileSync('/proc/self/mountinfo', 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return ''
    throw error
  }
}

function octal(character: string): string {
  return `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`
}
