import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { findProgram } from '../test/support/program.js'
import { graphDriverProgram } from './peers/graphdriver.js'
import type { Run } from './result.js'
import type { Workload } from './workload.js'

/** The group of results from User-Mode Linux, and its title. */
export const UML = 'uml'
export const IN_UML = 'In User-Mode Linux'

/** What runs in User-Mode Linux: the driver that needs it, and what to compare it with. */
const CONTENDERS = [
  '--driver',
  'devicemapper',
  '--driver',
  'overlay2/kernel',
  '--peer',
  'docker devicemapper',
]
const BOOT = resolve(import.meta.dirname, '../../../test/uml/boot.mjs')

export interface Visit {
  readonly workloads: readonly Workload[]
  readonly seconds: number
  readonly rounds: number | undefined
  readonly quick: boolean
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

/** Returns why User-Mode Linux cannot run, or `undefined` if it can. */
export function noUml(): string | undefined {
  if (findProgram('linux.uml') === undefined)
    return 'the kernel has no device-mapper, and User-Mode Linux is not installed'
  return undefined
}

/** Workloads of a whole run: one of each kind, because each takes some ten times as long in User-Mode Linux. */
const WHOLE = new Set([
  'cow/first-write 4 KiB',
  'cow/first-write 1 MiB',
  'cow/1 MiB inside of 1 GiB',
  'cow/create 4 KiB',
  'cow/open-read-close 20 layers',
  'container/driver on 1 layer',
  'container/driver on 20 layers',
  'container/snapshot of 10 files',
  'diff/10 files',
  'changes/10 files',
  'commit/10 files',
])

/** Whether a workload runs in User-Mode Linux. If `--only` selects it, it must suit a slow and small machine. */
export function fitsUml({ name, heavy, onImage, growth }: Workload, isWhole: boolean): boolean {
  return isWhole ? WHOLE.has(name) : onImage !== true && (!heavy || growth === true)
}

/**
 * Runs this program in User-Mode Linux, whose kernel has a device-mapper. Floors and peers run there too, so ratios
 * hold. It is much slower, so its times cannot be compared with others.
 *
 * @returns `undefined` if it left no results
 */
export async function runInUml({
  workloads,
  seconds,
  rounds,
  quick,
  onLine,
  signal,
}: Visit): Promise<Run | undefined> {
  // Build it first: a build inside takes long, and cannot write files of the host.
  await graphDriverProgram().catch(() => undefined)
  const shared = await mkdtemp(join(tmpdir(), 'layerstack-bench-uml-'))
  try {
    const json = join(shared, 'run.json')
    const words = [
      ...[BOOT, '--shared', shared, process.execPath, join(import.meta.dirname, 'main.js')],
      ...[...CONTENDERS, '--budget', String(seconds / 60), '--json', json],
      ...(rounds === undefined ? [] : ['--rounds', String(rounds)]),
      ...(quick ? ['--quick'] : []),
      ...workloads.flatMap(({ name }) => ['--only', name]),
    ]
    // The minimum number of rounds may exceed the budget, so it is stopped only well after that.
    const minutes = String(5 + (3 * seconds) / 60)
    const env = { ...process.env, LAYERSTACK_UML_MINUTES: minutes, LAYERSTACK_UML_MEMORY: '8G' }
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'ignore'], env })
    const stop = (): void => void child.kill('SIGTERM')
    signal.addEventListener('abort', stop, { once: true })
    createInterface(child.stdout).on('line', onLine)
    await new Promise((over, failed) => child.once('close', over).once('error', failed))
    signal.removeEventListener('abort', stop)
    return JSON.parse(await readFile(json, 'utf8')) as Run
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  } finally {
    await rm(shared, { recursive: true, force: true })
  }
}
