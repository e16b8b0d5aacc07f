import assert from 'node:assert/strict'
import { readdirSync, readlinkSync, realpathSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DriverFactory, DriverOpenOptions } from '../drivers/factory.js'
import type { ConformanceCase } from './case.js'
import { applying } from './cases/applying.js'
import { depth } from './cases/depth.js'
import { diffing } from './cases/diffing.js'
import { editing } from './cases/editing.js'
import { knownBugs } from './cases/known-bugs.js'
import { lifecycle } from './cases/lifecycle.js'
import { oddities } from './cases/oddities.js'
import { quota } from './cases/quota.js'
import { reserved } from './cases/reserved.js'
import { silentWrites } from './cases/silent-writes.js'
import { views } from './cases/views.js'
import { Subject, type SubjectOptions } from './subject.js'

/** What to test, and with which test runner. */
export interface ConformanceOptions {
  /** Registers one case: `test` of node:test, `it` of vitest, mocha or jest, or a function of your own. */
  readonly test: (name: string, run: () => Promise<void>) => unknown
  /** Makes the driver. Some cases call `open` several times on one root. */
  readonly factory: Pick<DriverFactory, 'open'>
  /** The engine to open the driver with. @default 'auto' */
  readonly engine?: DriverOpenOptions['engine']
  /** Options of the driver, for each `open`. @default none */
  readonly driverOptions?: DriverOpenOptions['driverOptions']
  /** Directory for the roots, one per case. It must be on the file system to test. @default os.tmpdir() */
  readonly directory?: string
  /** Removes a root after its case. @default a recursive `rm` */
  readonly removeRoot?: (root: string) => Promise<void>
  /**
   * Number of layers in the deepest chain. A number above the default has no effect.
   * @default `maxDepth` of the driver, at most 500
   */
  readonly depth?: number
  /** Whether to apply odd layers of other tools, which are about half of all cases. @default true */
  readonly oddLayers?: boolean
}

/** What was registered and what was left out. */
export interface ConformanceReport {
  /** Names of the cases that were registered. */
  readonly cases: readonly string[]
  /** Cases that do not apply to the driver, which are not run. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[]
}

/**
 * Registers the whole suite with a test runner: what `Driver` promises, case by case, each on a fresh root. The
 * driver's `capabilities` decide which cases apply, so a driver is first opened on a temporary root. Resolves when all
 * cases are registered.
 *
 * @example
 * ```ts
 * import { test } from 'node:test'
 * import { driverConformance } from 'layerstack/conformance'
 * import { vfs } from 'layerstack/drivers/vfs'
 *
 * await driverConformance({ test, factory: vfs })
 * ```
 */
export async function driverConformance(options: ConformanceOptions): Promise<ConformanceReport> {
  const { test } = options
  const { applicable, skipped } = await onFreshRoot(options, async ({ driver }) => sorted(options, driver))
  for (const { name, run } of applicable) test(name, () => onFreshRoot(options, run))
  return { cases: applicable.map(({ name }) => name), skipped }
}

function sorted(
  { depth: wanted, oddLayers = true }: ConformanceOptions,
  driver: Subject['driver'],
): { applicable: ConformanceCase[]; skipped: ConformanceReport['skipped'] } {
  const deepest = Math.min(wanted ?? MANY, driver.capabilities.maxDepth, MANY)
  const cases = [
    ...lifecycle,
    ...views,
    ...editing,
    ...diffing,
    ...silentWrites,
    ...applying,
    ...reserved,
    ...quota,
    ...depth(deepest),
    ...knownBugs,
    ...(oddLayers ? oddities : []),
  ]
  const reasons = new Map(cases.map((each) => [each, each.unless?.(driver)]))
  return {
    applicable: cases.filter((each) => reasons.get(each) === undefined),
    skipped: cases.flatMap((each) => {
      const reason = reasons.get(each)
      return reason === undefined ? [] : [{ name: each.name, reason }]
    }),
  }
}

async function onFreshRoot<T>(
  options: ConformanceOptions,
  work: (subject: Subject) => Promise<T>,
): Promise<T> {
  const { directory = tmpdir(), removeRoot = removeTree } = options
  const root = await mkdtemp(join(directory, 'layerstack-conformance-'))
  try {
    const subject = await Subject.open(root, subjectOptions(options))
    let result: T
    try {
      result = await work(subject)
    } finally {
      await subject.close()
    }
    nothingOpenBelow(root)
    return result
  } finally {
    await removeRoot(root)
  }
}

/** Checks that a driver has no file of its root open after its cleanup. Detects open files on Linux only. */
function nothingOpenBelow(root: string): void {
  const real = realpathSync(root)
  const open = orNone(() => readdirSync(DESCRIPTORS))
    .flatMap((name) => orNone(() => [readlinkSync(join(DESCRIPTORS, name))]))
    .filter((path) => path.startsWith(`${real}/`))
  assert.deepEqual(open, [], 'files of the root are open after cleanup')
}

function orNone<T>(read: () => T[]): T[] {
  try {
    return read()
  } catch {
    return []
  }
}

function subjectOptions({ factory, engine = 'auto', driverOptions }: ConformanceOptions): SubjectOptions {
  return { factory, engine, driverOptions }
}

function removeTree(root: string): Promise<void> {
  return rm(root, { recursive: true, force: true, maxRetries: 3 })
}

const MANY = 500
const DESCRIPTORS = '/proc/self/fd'
