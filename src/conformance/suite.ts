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

export interface ConformanceOptions {
  /** Registers one case: `test` of node:test, `it` of vitest, mocha or jest, or a function of your own. */
  readonly test: (name: string, run: () => Promise<void>) => unknown
  /** Makes the driver. `open` is called several times on one root in some cases. */
  readonly factory: Pick<DriverFactory, 'open'>
  /** @default 'auto' */
  readonly engine?: DriverOpenOptions['engine']
  readonly driverOptions?: DriverOpenOptions['driverOptions']
  /** Where the roots are made, one a case: a directory on the file system that is to be tried. @default os.tmpdir() */
  readonly directory?: string
  /** Removes a root when its case is over. @default a recursive `rm` */
  readonly removeRoot?: (root: string) => Promise<void>
  /** Layers in the deepest chain, if they shall be fewer than the driver says (`maxDepth`, at most 500). */
  readonly depth?: number
}

export interface ConformanceReport {
  /** Names of the cases that were registered. */
  readonly cases: readonly string[]
  /** What the driver does not claim to do, and is not asked. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[]
}

/**
 * Registers the whole suite with a test runner: what `Driver` promises, case by case, each on a fresh root. What a driver
 * can do decides what applies (`capabilities`), so one is opened first, on a root that is thrown away.
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
  { depth: wanted }: ConformanceOptions,
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
    ...oddities,
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

/** After its cleanup a driver has no file of its root open; seen on Linux only. */
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
