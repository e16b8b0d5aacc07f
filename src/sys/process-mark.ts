import { readFileSync, readlinkSync } from 'node:fs'
import { isErrno } from '../errors.js'

/**
 * Identifies this process on its machine: process ID, start time, boot ID and PID namespace, separated by spaces. The
 * start time distinguishes processes that had the same ID.
 */
export function processMark(): string {
  own ??= [process.pid, processAt(process.pid).start, ...place()].join(' ')
  return own
}

/**
 * Whether the process that made the mark still runs. A process in another PID namespace is not visible and counts as
 * running. A process from an earlier boot has ended.
 */
export function isAlive(mark: string): boolean {
  const [pid = '', start, boot, namespace] = mark.split(' ')
  const [ourBoot, ourNamespace] = place()
  if (boot !== ourBoot) return false
  if (namespace !== ourNamespace) return true
  if (!exists(Number(pid))) return false
  const found = processAt(Number(pid))
  return found.start === start && !found.ended
}

let own: string | undefined
let placed: [boot: string, namespace: string] | undefined

function place(): [boot: string, namespace: string] {
  return (placed ??= [
    orDash(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()),
    orDash(() => readlinkSync('/proc/self/ns/pid')),
  ])
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !isErrno(error, 'ESRCH')
  }
}

/** The start time in clock ticks after boot, or `-` without /proc. A zombie counts as ended. */
function processAt(pid: number): { start: string; ended: boolean } {
  const stat = orDash(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { start: fields[19] ?? '-', ended: fields[0] === 'Z' || fields[0] === 'X' }
}

function orDash(read: () => string): string {
  try {
    return read()
  } catch {
    return '-'
  }
}
