import { randomBytes } from 'node:crypto'
import { isAlive, processMark } from './process-mark.js'

const PREFIX = '.tmp-'
/** `.tmp-<label>-<process ID>.<start>.<boot ID>.<PID namespace>.<random>`; the boot ID has no hyphens. */
const TEMPORARY = /^\.tmp-.+-(\d+)\.(\d+|-)\.([a-f0-9]{32}|-)\.(\d+|-)\.[a-f0-9]{8}$/s

/** File names have at most 255 bytes. A character takes up to three, and the rest of the name less than 100. */
const LONGEST_LABEL = 50

/**
 * Returns a fresh name for a file or directory that its maker renames or removes. The name identifies the process that
 * made it, so that other processes can remove the file after that process has ended.
 * @param label describes the file to readers; a long label is truncated
 */
export function temporaryName(label: string): string {
  return `.tmp-${label.slice(0, LONGEST_LABEL)}-${(token ??= tokenOf(processMark()))}.${randomBytes(4).toString('hex')}`
}

/** Whether `temporaryName` made the name, in any process, past or present. */
export function isTemporaryName(name: string): boolean {
  return name.startsWith(PREFIX) && TEMPORARY.test(name)
}

/** Whether `temporaryName` made the name and the process that made it has ended. */
export function isAbandonedName(name: string): boolean {
  if (!name.startsWith(PREFIX)) return false
  const [, pid, start, boot = '', namespace] = TEMPORARY.exec(name) ?? []
  if (pid === undefined) return false
  const bootId = boot.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return !isAlive([pid, start, bootId, namespace === '-' ? '-' : `pid:[${namespace}]`].join(' '))
}

let token: string | undefined

function tokenOf(mark: string): string {
  const [pid, start, boot = '', namespace = ''] = mark.split(' ')
  return [pid, start, boot === '-' ? '-' : boot.replaceAll('-', ''), /\d+/.exec(namespace)?.[0] ?? '-'].join(
    '.',
  )
}
