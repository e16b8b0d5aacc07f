/** Ends the processes and unmounts the directories that a test run left behind, as its ledger (`support/ledger.ts`) names them. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync } from 'node:fs'

/** @param {string} ledger */
export function sweep(ledger) {
  if (!existsSync(ledger)) return
  const entries = readFileSync(ledger, 'utf8')
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
  for (const { kind, pid, startTime } of entries) {
    if (kind !== 'process' || startTimeOf(pid) !== startTime) continue
    console.log(`ended process ${pid}, which a test left behind`)
    process.kill(pid, 'SIGKILL')
  }
  for (const { kind, path } of entries) {
    if (kind !== 'directory' || !existsSync(path)) continue
    const real = realpathSync(path)
    const left = mountPoints().filter((point) => point === real || point.startsWith(`${real}/`))
    for (const point of left) spawnSync('umount', ['-l', point])
    if (left.length > 0) console.log(`unmounted ${left.length} mounts that a test left below ${path}`)
  }
}

function startTimeOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

function mountPoints() {
  try {
    const table = readFileSync('/proc/self/mountinfo', 'latin1').split('\n')
    return table
      .map((line) => line.split(' ')[4])
      .filter(Boolean)
      .toReversed()
  } catch {
    return []
  }
}
