import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { findProgram } from '../test/support/program.js'
import { graphDriverProgram } from './peers/graphdriver.js'
import type { Run } from './result.js'
import type { Workload } from './workload.js'

/** The group of what was measured in there. */
export const UML = 'uml'
export const IN_UML = 'In User-Mode Linux'

/** What is measured in there: the driver that needs it, and what it is to be seen beside. */
const SIDES = ['--driver', 'devicemapper', '--driver', 'overlay2/kernel', '--peer', 'docker devicemapper']
const BOOT = resolve(import.meta.dirname, '../../../test/uml/boot.mjs')

export interface Visit {
  readonly workloads: readonly Workload[]
  readonly seconds: number
  readonly rounds: number | undefined
  readonly quick: boolean
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

/** Why it cannot be had; `undefined` where it can. */
export function noUml(): string | undefined {
  if (findProgram('linux.uml') === undefined) return 'User-Mode Linux, which has one, is not installed'
  return undefined
}

/** Of a whole run: one workload of each kind, since all takes some ten times as long in there. */
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

/** Workloads that are done in there: those of a whole run, or those asked for that a slow and small machine can do. */
export function fitsUml({ name, heavy, onImage, growth }: Workload, isWhole: boolean): boolean {
  return isWhole ? WHOLE.has(name) : onImage !== true && (!heavy || growth === true)
}

/**
 * This program once more, in User-Mode Linux, where a device-mapper is: floors and peers are measured in there, too, so
 * ratios hold. A machine that is slower by much, so nothing else of it compares with this one.
 */
export async function runInUml({
  workloads,
  seconds,
  rounds,
  quick,
  onLine,
  signal,
}: Visit): Promise<Run | undefined> {
  // Not in there: it takes long, and files of the host cannot be written.
  await graphDriverProgram().catch(() => undefined)
  const shared = await mkdtemp(join(tmpdir(), 'layerstack-bench-uml-'))
  try {
    const json = join(shared, 'run.json')
    const words = [
      ...[BOOT, '--shared', shared, process.execPath, join(import.meta.dirname, 'main.js')],
      ...[...SIDES, '--budget', String(seconds / 60), '--json', json],
      ...(rounds === undefined ? [] : ['--rounds', String(rounds)]),
      ...(quick ? ['--quick'] : []),
      ...workloads.flatMap(({ name }) => ['--only', name]),
    ]
    // It has least rounds to take, and is ended when it takes too many times what it was given.
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
