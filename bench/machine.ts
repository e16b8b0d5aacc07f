import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type as systemName } from 'node:os'
import { findProgram } from '../test/support/program.js'
import type { Disk } from './disk.js'
import { bytes } from './format.js'

/** The properties of a machine that affect measurements. Nothing identifies the machine or its owner. */
export interface Machine {
  readonly system: string
  readonly processor: string
  readonly cores: number
  readonly memory: number
  /** Names of the run's disks and their file systems, in the order given. */
  readonly disks: readonly string[]
  readonly node: string
  readonly user: 'root' | 'ordinary'
  /** The lowest and highest one-minute load average of the run. */
  readonly load: readonly [least: number, most: number]
  /** Versions of the installed peers. */
  readonly peers: Readonly<Record<string, string>>
}

/** @param peers program names */
export function describeMachine(disks: readonly Disk[], peers: readonly string[]): Machine {
  return {
    system: `${distribution()} (${systemName()} ${release()}, ${arch()})`,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory: totalmem(),
    disks: disks.map(({ name, fileSystem }) => `${name} (${fileSystem})`),
    node: process.version,
    user: process.getuid?.() === 0 ? 'root' : 'ordinary',
    load: [oneMinute(), oneMinute()],
    peers: Object.fromEntries(peers.map((name) => [name, versionOf(name)])),
  }
}

export function withLoadNow(machine: Machine): Machine {
  const now = oneMinute()
  return { ...machine, load: [Math.min(machine.load[0], now), Math.max(machine.load[1], now)] }
}

export function machineLines(machine: Machine): string[] {
  const peers = Object.entries(machine.peers).map(([name, version]) => `${name} ${version}`)
  return [
    `${machine.system}, Node ${machine.node}, as ${machine.user === 'root' ? 'root' : 'an ordinary user'}`,
    `${machine.processor}, ${machine.cores} cores, ${bytes(machine.memory)}, on ${machine.disks.join(' and ')}`,
    `load average from ${machine.load[0].toFixed(1)} to ${machine.load[1].toFixed(1)}`,
    ...(peers.length > 0 ? [`peers: ${peers.join(', ')}`] : []),
  ]
}

function oneMinute(): number {
  return loadavg()[0] ?? 0
}

function distribution(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

/** The daemon of each client program, whose version is reported. */
const DAEMONS: Readonly<Record<string, string>> = { docker: 'dockerd', ctr: 'containerd' }

function versionOf(program: string): string {
  const said =
    spawnSync(findProgram(DAEMONS[program] ?? program) ?? program, ['--version'], { encoding: 'utf8' })
      .stdout ?? ''
  return /\d+\.[\w.+~-]+/.exec(said)?.[0] ?? 'unknown'
}
