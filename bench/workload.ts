import type { Driver, Store } from 'layerstack'
import type { Clock } from './clock.js'
import type { DriverContender } from './contender.js'

/**
 * A workload is a line of `workloads.ts`, and says how each side does it: drivers of this project, the floor, peers. A
 * side makes a `Task` in a process of its own; the schedule asks it for one sample after another, in turn with the
 * others:
 *
 *     prepare(place) ──► run(clock) … run(clock) ──► dispose
 */
export interface Workload {
  /** `group/rest`. */
  readonly name: string
  readonly about: string
  /** Left out of `--quick`. */
  readonly heavy: boolean
  /** So long that it is not warmed up, and that two samples do. */
  readonly long?: boolean
  /** What it takes on disk is what it is for: the page shows it. */
  readonly growth?: boolean
  /** Of a real image. */
  readonly onImage?: boolean
  /** Bytes that each side takes on disk; with less free it is left out. */
  readonly space?: number
  /** For a chart: all workloads of a series are its points. */
  readonly point?: { readonly series: string; readonly at: number }
  /** Drivers do it on the host path of their views, too, where there is one. */
  readonly onMount?: boolean
  /** Floors and peers sync nothing: drivers do it without syncs, too, beside what they do by default. */
  readonly unsynced?: boolean
  /** Layers that a chain has in it. @default 2 */
  readonly depth?: number
  readonly driver: (side: DriverSide) => Promise<Task>
  /** By name; the first that runs is what the others are measured by. */
  readonly floors?: Readonly<Record<string, Prepare>>
  /** By the program's name, and what of it: it must be installed. */
  readonly peers?: Readonly<Record<string, Prepare>>
  /** The file system that a peer needs, if it needs one. */
  readonly peersOn?: Readonly<Record<string, string>>
}

type Prepare = (place: Place) => Promise<Task>

export interface Task extends AsyncDisposable {
  /** One sample; what it leaves behind does not change the next one. */
  run(clock: Clock): Promise<void>
  /** A word in the arguments of each process that works for this one, beside it. */
  readonly helpers?: string
}

/** One that has nothing to give back but what `end` does. */
export function task(run: Task['run'], end: () => Promise<unknown> = async () => undefined): Task {
  return { run, [Symbol.asyncDispose]: async () => void (await end()) }
}

/** Where a side may write. */
export interface Place {
  /** A directory of its own, absolute. */
  readonly directory: string
  /** An image as `docker save` wrote it. */
  readonly image: () => Promise<string>
}

export interface DriverSide extends Place {
  readonly contender: DriverContender
  /** Opens the driver on a root, by default always on the same one. */
  openDriver(root?: string): Promise<Driver>
  openStore(root?: string): Promise<Store>
}

/** Thrown by `prepare` where something cannot be done here: told, not counted as a failure. */
export class NotHere extends Error {}
