import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { RawFs } from '#layerstack/fs/raw-fs.js'
import { ATTRIBUTES, Bench, noOracle } from './union-bench.js'
import { buildCase, bytes, OBJECTS, type UnionObject } from './union-objects.js'
import { OPERATIONS, outcome, type Operation } from './union-operations.js'
import { describeTree } from './union-tree.js'

/**
 * Every operation on every kind of object, in every combination of layers that it may be made of; and every object
 * renamed over every other. Each case has a directory of its own in one overlay. The kernel's overlayfs on a copy of the
 * same directories is the judge. What it said is recorded in `union-oracle.json`, which judges where nothing can be
 * mounted; `LAYERSTACK_RECORD=1` records it anew.
 */
interface Case {
  readonly group: string
  readonly name: string
  readonly objects: Record<string, UnionObject>
  readonly operation: Operation
}

interface Result {
  readonly outcome: string
  readonly tree: readonly string[]
  readonly marks: readonly string[]
}

const RENAME: Operation = {
  name: 'rename',
  run: (fs, dir) => fs.rename(bytes(`${dir}/x`), bytes(`${dir}/y`)),
}
const CASES: readonly Case[] = [
  ...OPERATIONS.flatMap((operation) =>
    OBJECTS.filter(({ special }) => !(special && operation.opens === true)).map((object) => ({
      group: operation.name,
      name: `${operation.name}: ${object.name}`,
      objects: { x: object },
      operation,
    })),
  ),
  ...OBJECTS.flatMap((object) =>
    OBJECTS.map((target) => ({
      group: `rename ${object.name}`,
      name: `rename: ${object.name} -> ${target.name}`,
      objects: { x: object, y: target },
      operation: RENAME,
    })),
  ),
]
const RECORD = new URL('union-oracle.json', import.meta.url)
const reason = noOracle()
if (reason !== undefined) console.warn(`union: judged by what the kernel said elsewhere, since ${reason}`)

describe('a union does what the kernel’s overlay does', () => {
  const benches: Bench[] = []
  let actual: Map<string, Result>
  let expected: Map<string, Result> | undefined
  let recorded: Record<string, string>

  beforeAll(() => {
    const ours = build(benches)
    actual = runAll(ours, ours.union())
    if (reason === undefined) {
      const theirs = build(benches)
      expected = runAll(theirs, theirs.mount(), () => theirs.unmount())
      if (process.env['LAYERSTACK_RECORD'] !== undefined) record(expected)
    }
    recorded = existsSync(RECORD) ? (JSON.parse(readFileSync(RECORD, 'utf8')) as Record<string, string>) : {}
  })
  afterAll(() => {
    for (const bench of benches) bench.remove()
  })

  for (const group of new Set(CASES.map((each) => each.group))) {
    it(group, () => {
      const cases = CASES.filter((each) => each.group === group)
      const oracle = expected
      if (oracle !== undefined) {
        const wrong = cases.filter(({ name }) => !isDeepStrictEqual(actual.get(name), oracle.get(name)))
        expect(byName(wrong, (name) => actual.get(name))).toEqual(byName(wrong, (name) => oracle.get(name)))
      }
      const comparable = cases.filter(
        ({ operation }) => ATTRIBUTES === 'native' || operation.needsInodes !== true,
      )
      const briefs = byName(comparable, (name) => brief(actual.get(name) as Result))
      expect(briefs, 'as recorded').toEqual(byName(comparable, (name) => recorded[name]))
    })
  }
})

function byName<T>(cases: readonly Case[], valueOf: (name: string) => T): Record<string, T> {
  return Object.fromEntries(cases.map(({ name }) => [name, valueOf(name)]))
}

function build(benches: Bench[]): Bench {
  const bench = new Bench()
  benches.push(bench)
  for (const [number, { objects }] of CASES.entries()) buildCase(bench.layers, directoryOf(number), objects)
  bench.settle()
  return bench
}

function runAll(bench: Bench, fs: RawFs, done: () => void = () => undefined): Map<string, Result> {
  const nowNs = BigInt(Date.now() - 1000) * 1_000_000n
  const seen = CASES.map(({ operation }, number) => {
    const dir = directoryOf(number)
    const result = outcome(() => operation.run(fs, dir))
    const tree = describeTree(fs, { nowNs }, dir)
    return { outcome: result, tree: result === 'ENOTEMPTY' ? withoutTime(tree) : tree }
  })
  fs.close()
  done()
  const below = bench.below('upper')
  return new Map(
    CASES.map(({ name }, number) => {
      const { outcome: result, tree } = seen[number] as (typeof seen)[number]
      return [name, { outcome: result, tree, marks: bench.marks(directoryOf(number), below) }]
    }),
  )
}

function directoryOf(number: number): ByteString {
  return bytes(`c${number}`)
}

/** A kernel that refuses to rename over a directory has touched the directory that both are in; we have not. */
function withoutTime([first, ...rest]: readonly string[]): string[] {
  return [first?.replace(/ (now|\d{19})/, '') ?? '', ...rest]
}

/** Without the links of directories, which file systems count differently. */
function brief({ outcome: result, tree, marks }: Result): string {
  const lines = tree.map((line) => (line.includes(' directory ') ? line.replace(/ links=\d+/, '') : line))
  const text = [...lines, ...marks].join('\n').replaceAll(/\/c\d+/g, '/c')
  return `${result} ${createHash('sha256').update(text).digest('hex').slice(0, 8)}`
}

function record(results: Map<string, Result>): void {
  const lines = [...results].map(
    ([name, result]) => `  ${JSON.stringify(name)}: ${JSON.stringify(brief(result))}`,
  )
  writeFileSync(RECORD, `{\n${lines.join(',\n')}\n}\n`)
}
