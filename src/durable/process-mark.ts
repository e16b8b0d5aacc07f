import { readFile, readlink } from 'node:fs/promises'
import { isErrno } from '../errors.js'

/** Names this process among all of the machine: its number, when it began, since numbers come again, and where it counts. */
export async function processMark(): Promise<string> {
  const { start } = await processAt(process.pid)
  return [process.pid, start, ...(await place())].join(' ')
}

/**
 * Whether the process that made the mark still runs. One that counts its processes elsewhere, in another container,
 * cannot be seen from here, so it is taken to run; one from before the machine's last start does not.
 */
export async function isAlive(mark: string): Promise<boolean> {
  const [pid = '', start, boot, namespace] = mark.split(' ')
  const [ourBoot, ourNamespace] = await place()
  if (boot !== ourBoot) return false
  if (namespace !== ourNamespace) return true
  if (!exists(Number(pid))) return false
  const found = await processAt(Number(pid))
  return found.start === start && !found.ended
}

async function place(): Promise<[boot: string, namespace: string]> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '-')
  const namespace = await readlink('/proc/self/ns/pid').catch(() => '-')
  return [boot.trim(), namespace]
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !isErrno(error, 'ESRCH')
  }
}

/** Its start in clock ticks after boot, from /proc; `-` where there is none. A zombie has ended. */
async function processAt(pid: number): Promise<{ start: string; ended: boolean }> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { start: fields[19] ?? '-', ended: fields[0] === 'Z' || fields[0] === 'X' }
}
