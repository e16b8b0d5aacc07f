/** The process of one contender for one workload. Its parent orders it to prepare, to take a sample, or to end. */
import { statfsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openStore, type Driver } from 'layerstack'
import { Clock } from './clock.js'
import { registryWith, type Contender } from './contender.js'
import { bytes } from './format.js'
import { toMakeOne } from './image.js'
import { LoopDelay } from './loop-delay.js'
import { peakMemory, peakMemoryNaming, resetPeakMemory } from './memory.js'
import type { Sample } from './result.js'
import { NotHere, type DriverWorkspace, type Workspace, type Task, type Workload } from './workload.js'
import { workloads } from './workloads.js'

export type Order =
  | {
      readonly kind: 'prepare'
      readonly workload: string
      readonly contender: Contender
      readonly directory: string
      /** Path of a docker-archive. */
      readonly image: string | undefined
    }
  | { readonly kind: 'sample'; readonly countsDisk: boolean }
  | { readonly kind: 'end' }

export type Answer =
  | { readonly kind: 'prepared' }
  | { readonly kind: 'sample'; readonly sample: Sample; readonly allocated: number | undefined }
  | {
      readonly kind: 'ended'
      readonly peakMemory: number
      readonly loopDelay: { readonly p99: number; readonly max: number } | undefined
    }
  | { readonly kind: 'failed'; readonly reason: string; readonly notHere: boolean }

let task: Task | undefined
let helpersPeak: number | undefined
const loop = new LoopDelay()
let isDriver = false

process.on('message', (order: Order) => {
  obey(order).then(answer, (error: unknown) =>
    answer({ kind: 'failed', reason: reasonOf(error), notHere: error instanceof NotHere }),
  )
})
// The terminal sends SIGINT to all of its processes, but the parent decides when this one ends.
process.on('SIGINT', () => undefined)
process.once('disconnect', () => {
  void end().finally(() => process.exit())
})

function answer(said: Answer): void {
  process.send?.(said)
}

async function obey(order: Order): Promise<Answer> {
  switch (order.kind) {
    case 'prepare': {
      const workload = workloads.find(({ name }) => name === order.workload)
      if (workload === undefined) throw new TypeError(`unknown workload: ${order.workload}`)
      refuseWithoutSpace(order.directory, workload.space)
      isDriver = order.contender.kind === 'driver'
      task = await prepare(workload, order.contender, workspaceOf(order.directory, order.image))
      globalThis.gc?.()
      resetPeakMemory()
      return { kind: 'prepared' }
    }
    case 'sample': {
      const clock = new Clock(isDriver ? loop : undefined, order.countsDisk, task?.helpers)
      await task?.run(clock)
      if (task?.helpers !== undefined) helpersPeak = peakMemoryNaming(task.helpers)
      return { kind: 'sample', sample: clock.sample, allocated: clock.allocated }
    }
    case 'end': {
      const peak = (isDriver || helpersPeak === undefined ? peakMemory() : 0) + (helpersPeak ?? 0)
      await end()
      return { kind: 'ended', peakMemory: peak, loopDelay: loop.seen }
    }
  }
}

async function end(): Promise<void> {
  const ending = task
  task = undefined
  await ending?.[Symbol.asyncDispose]()
}

async function prepare(workload: Workload, contender: Contender, workspace: Workspace): Promise<Task> {
  if (contender.kind === 'driver') return workload.driver(await driverWorkspace(contender, workspace))
  const prepareIt = (contender.kind === 'floor' ? workload.floors : workload.peers)?.[contender.name]
  if (prepareIt === undefined)
    throw new TypeError(`${workload.name} has no ${contender.kind} ${contender.name}`)
  return prepareIt(workspace)
}

async function driverWorkspace(
  contender: Extract<Contender, { kind: 'driver' }>,
  workspace: Workspace,
): Promise<DriverWorkspace> {
  const factory = (await registryWith(contender.modules)).get(contender.driver)
  const usual = join(workspace.directory, 'root')
  const openDriver = async (root = usual): Promise<Driver> => {
    await mkdir(root, { recursive: true })
    return factory.open({ root, engine: contender.engine, readOnly: false })
  }
  return {
    ...workspace,
    contender,
    openDriver,
    openStore: async (root = usual) => openStore({ root, driver: await openDriver(root) }),
  }
}

function refuseWithoutSpace(directory: string, space = 0): void {
  const { bavail, bsize } = statfsSync(directory)
  if (bavail * bsize < space)
    throw new NotHere(`it needs ${bytes(space)} of disk space, but only ${bytes(bavail * bsize)} are free`)
}

function workspaceOf(directory: string, image: string | undefined): Workspace {
  return {
    directory,
    image: async () => {
      if (image !== undefined) return image
      const otherwise = toMakeOne()
      throw new NotHere(`no image: pass one with --image${otherwise ? `, or ${otherwise}` : ''}`)
    },
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // An error during disposal hides the error that came before it, so report that one first.
  if ('suppressed' in error && 'error' in error)
    return `${reasonOf(error.suppressed)}; ${reasonOf(error.error)}`
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : ''
  return `${error.message}${cause}`.trim()
}
