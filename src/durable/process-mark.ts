import { readFile } from 'node:fs/promises'

/** Names this process for as long as the machine is up: its number, and when it began, since numbers come again. */
export async function processMark(): Promise<string> {
  return `${process.pid} ${await startOf(process.pid)}`
}

/** Whether the process that made the mark still runs. */
export async function isAlive(mark: string): Promise<boolean> {
  const [pid, start] = mark.split(' ') as [string, string | undefined]
  try {
    process.kill(Number(pid), 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return (await startOf(Number(pid))) === start
}

/** In clock ticks after boot, from /proc; `-` where there is none. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '-'
}
