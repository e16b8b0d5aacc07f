import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import * as promises from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RawFs } from '#layerstack/fs/raw-fs.js'
import { openRawFs } from '#layerstack/fs/open-raw-fs.js'
import { layerFs } from '#layerstack/fs/rooted-fs.js'
import type { RawFsSpec } from '#layerstack/fs/spec.js'
import { calls, makeTree, type At, type Call, type Fs } from './layer-fs-calls.js'

const host = (root: string) => ({ kind: 'host', root }) as const
/** Copy-up parts hard links to a lower file, so that a union is asked without any. */
const subjects: readonly [string, boolean, (scratch: string) => RawFsSpec][] = [
  ['a directory', true, (scratch) => host(join(scratch, 'lower'))],
  ['a directory, shared', true, (scratch) => ({ ...host(join(scratch, 'lower')), shared: true })],
  ['a union, all below', false, (scratch) => union(scratch, [join(scratch, 'lower')])],
]

let scratch: string
let raw: RawFs | undefined

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-layer-fs-'))
  for (const name of ['lower', 'upper', 'work', 'node']) mkdirSync(join(scratch, name))
})

afterEach(() => {
  raw?.close()
  raw = undefined
  rmSync(scratch, { recursive: true, force: true })
})

describe.each(subjects)('LayerFs over %s does what Node does:', (_name, hardLinks, specOf) => {
  for (const group of groupsOf(calls)) {
    it(group.name, async () => {
      const differing: string[] = []
      for (const call of group.calls) {
        const [ours, theirs] = [await onLayer(call, specOf, hardLinks), await onNode(call, hardLinks)]
        if (ours !== theirs && !isMovedFromBelow(ours, call))
          differing.push(`${call.name}\n  ours: ${ours}\n  node: ${theirs}`)
      }
      expect(differing.join('\n')).toBe('')
    })
  }
})

/** As overlayfs without `redirect_dir`: a directory of a lower layer is not renamed. */
function isMovedFromBelow(ours: string, { name }: Call): boolean {
  return ours.startsWith('EXDEV rename ') && /^rename \/(dir|empty|dir\/|dir\/sub) /.test(name)
}

const told = new Map<string, string>()

async function onNode(call: Call, hardLinks: boolean): Promise<string> {
  const key = `${hardLinks} ${call.name}`
  const before = told.get(key)
  if (before !== undefined) return before
  const root = join(scratch, 'node')
  const at: At = (path) => (path === '' ? '' : root + path)
  clear(root)
  await makeTree(promises, at, hardLinks)
  const result = await outcome(call, promises, at)
  told.set(key, result)
  return result
}

async function onLayer(
  call: Call,
  specOf: (scratch: string) => RawFsSpec,
  hardLinks: boolean,
): Promise<string> {
  for (const name of ['lower', 'upper', 'work']) clear(join(scratch, name))
  await makeTree(promises, (path) => join(scratch, 'lower') + path, hardLinks)
  raw?.close()
  raw = openRawFs(specOf(scratch))
  return outcome(call, layerFs(raw) as unknown as Fs, (path) => path)
}

/** What a call gave, or its error, and the tree that it left. */
async function outcome(call: Call, fs: Fs, at: At): Promise<string> {
  const result = await call.run(fs, at).then(
    (value) => JSON.stringify(value) ?? 'done',
    (error: NodeJS.ErrnoException) => errorOf(error, at),
  )
  return `${result}\n${(await treeOf(fs, at, '')).join('\n')}`
}

function errorOf({ code, syscall, path, dest }: NodeJS.ErrnoException & { dest?: string }, at: At): string {
  const root = at('/').slice(0, -1)
  const shown = (place: string | undefined) =>
    place?.startsWith(root) === true ? place.slice(root.length) : place
  return [code, syscall, shown(path), shown(dest)].join(' ')
}

async function treeOf(fs: Fs, at: At, directory: string): Promise<string[]> {
  const lines: string[] = []
  for (const name of (await fs.readdir(at(directory || '/'))).toSorted()) {
    const path = `${directory}/${name}`
    const stat = await fs.lstat(at(path))
    const content = stat.isFile()
      ? await fs.readFile(at(path), 'utf8')
      : stat.isSymbolicLink()
        ? await fs.readlink(at(path))
        : ''
    lines.push(`${path} ${stat.mode.toString(8)} ${stat.isDirectory() ? '' : stat.nlink} ${content}`)
    if (stat.isDirectory()) lines.push(...(await treeOf(fs, at, path)))
  }
  return lines
}

function clear(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory)
}

function union(place: string, lowers: readonly string[]): RawFsSpec {
  return {
    kind: 'union',
    upper: host(join(place, 'upper')),
    work: join(place, 'work'),
    lowers: lowers.map(host),
  }
}

/** Calls by their first word. */
function groupsOf(all: readonly Call[]): { name: string; calls: Call[] }[] {
  const groups = new Map<string, Call[]>()
  for (const call of all) {
    const name = /^\S+/.exec(call.name)?.[0] ?? ''
    groups.set(name, [...(groups.get(name) ?? []), call])
  }
  return [...groups].map(([name, members]) => ({ name, calls: members }))
}
