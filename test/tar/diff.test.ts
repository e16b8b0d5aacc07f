/** @module-tag unit */
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { makeOpaque, makeWhiteout } from '#layerstack/fs/overlay-marks.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { diffChanges, diffParts, type DiffSource, type OpenTrees } from '#layerstack/tar/diff.js'
import { TarReader } from '#layerstack/tar/reader.js'
import type { TarHeader } from '#layerstack/tar/part.js'
import { changeLines } from '../support/change-lines.js'
import {
  bytes,
  describeTree,
  directory,
  entry,
  file,
  FORMS,
  link,
  modelStack,
  opaque,
  removeScratch,
  scratch,
  symlink,
  THEN,
  whiteout,
  type Entry,
  type Stack,
} from './stacks.js'

afterAll(removeScratch)

const HERE = process.getuid?.() === 0 ? 'native' : 'override'

const BASE: Entry[] = [
  directory('bin', { mode: 0o755, uid: 1 }),
  file('bin/su', 'binary', { mode: 0o4755, xattrs: { 'user.note': '\0\xff' } }),
  link('bin/sudo', 'bin/su'),
  symlink('bin/sh', 'dash', { uid: 2 }),
  entry('dev/null', 'char', { mode: 0o666, device: { major: 1, minor: 3 } }),
  entry('dev/pipe', 'fifo'),
  directory('etc', { mtimeNs: THEN + 5n }),
  file('etc/passwd', 'root', { gid: 3 }),
  file('etc/hosts', 'h'),
  directory('gone'),
  file('gone/with/all', 'x'),
  directory('lib'),
  file('lib/old', 'old'),
  directory('lib/sub'),
  file('lib/sub/old', 'old'),
  file('lib-x', ''),
  directory('opaque'),
  file('opaque/hidden', 'h'),
  directory('replaced'),
  file('replaced/x', 'x'),
  file('toDirectory', 'x'),
  directory('untouched', { mode: 0o700 }),
  file('untouched/file', 'same'),
]

const TOP: Entry[] = [
  file('bin/new', 'n'.repeat(1_500_000), { uid: 70_000_000, mtimeNs: -5n }),
  link('bin/newer', 'bin/new'),
  file('etc/passwd', 'root and more', { mtimeNs: THEN + 1n }),
  whiteout('etc/hosts'),
  whiteout('gone'),
  directory('opaque', { mode: 0o750 }),
  opaque('opaque'),
  file('opaque/seen', 's'),
  whiteout('lib'),
  directory('lib'),
  file('lib/new', 'new'),
  directory('lib/sub'),
  file('replaced', 'a file now'),
  directory('toDirectory'),
  file('toDirectory/in', 'x'),
  link('alias', 'untouched/file'),
  file(`${'long/'.repeat(60)}näme`, 'deep', { mtimeNs: THEN + 123_456_789n }),
  directory('empty'),
]

describe.each(FORMS)('a diff ($form)', ({ stack }) => {
  const layered = (...layers: Entry[][]): Stack => {
    const made = stack()
    for (const entries of layers) made.apply(entries)
    return made
  }
  /** The source that a driver of this form passes to the diff. */
  const diffOf = (...layers: Entry[][]): DiffSource | OpenTrees => {
    const upper = layered(...layers)
    if (upper.source !== undefined) return upper.source
    return { upper: upper.view, lower: layered(...layers.slice(0, -1)).view }
  }

  it('reproduces the tree in the same form', () => {
    const again = layered(BASE)
    again.applyParts(diffParts(diffOf(BASE, TOP)))
    expect(describeTree(again.view)).toEqual(describeTree(layered(BASE, TOP).view))
  })

  it('reproduces the tree in a MemoryFs', () => {
    const again = modelStack()
    again.apply(BASE)
    again.applyParts(materialised(diffParts(diffOf(BASE, TOP))))
    expect(describeTree(again.view)).toEqual(describeTree(layered(BASE, TOP).view))
  })

  it('holds the whole tree if no lower tree is given, with the same bytes as the diff of a MemoryFs', () => {
    const model = modelStack()
    model.apply(BASE)
    expect(tarOf({ upper: layered(BASE).view }).equals(tarOf({ upper: model.view }))).toBe(true)
  })

  it('has the same bytes each time', () => {
    expect(tarOf(diffOf(BASE, TOP)).equals(tarOf(diffOf(BASE, TOP)))).toBe(true)
  })

  it('reports each path as added, modified or deleted, as a comparison of the trees does', () => {
    const compared = { upper: layered(BASE, TOP).view, lower: layered(BASE).view }
    const changes = changeLines(diffChanges(diffOf(BASE, TOP)))
    expect(changes).toEqual(changeLines(diffChanges(compared)))
    expect(changes.filter((line) => !line.includes('long'))).toEqual([
      ...['add alias', 'modify bin', 'add bin/new', 'add bin/newer', 'add empty', 'modify etc'],
      ...[
        'delete etc/hosts',
        'modify etc/passwd',
        'delete gone',
        'modify lib',
        'add lib/new',
        'delete lib/old',
      ],
      ...['modify lib/sub', 'delete lib/sub/old', 'modify opaque', 'delete opaque/hidden', 'add opaque/seen'],
      ...[
        'modify replaced',
        'modify toDirectory',
        'add toDirectory/in',
        'modify untouched',
        'modify untouched/file',
      ],
    ])
  })

  it('sorts paths by component, so d/f comes before d-x', () => {
    const layers = [directory('d-x'), file('d-x/f'), directory('d'), file('d/f'), file('d.y')]
    const names = headersOf(diffOf(layers)).map(({ name }) => name)
    expect(names).toEqual(['d/', 'd/f', 'd-x/', 'd-x/f', 'd.y'])
  })

  it('holds the content of a hard-linked file once, under its first name', () => {
    const headers = headersOf(diffOf([file('b', 'content'), link('a', 'b'), link('c', 'b')]))
    expect(headers.map(({ name, type, linkName, size }) => [name, type, linkName, size])).toEqual([
      ['a', 'file', '', 7],
      ['b', 'link', 'a', 0],
      ['c', 'link', 'a', 0],
    ])
  })

  it('writes whiteouts with fixed attributes', () => {
    const hidden = headersOf(diffOf([file('d/a')], [whiteout('d/a')])).at(-1)
    expect(hidden).toMatchObject({ name: 'd/.wh.a', type: 'file', mode: 0o600, uid: 0, gid: 0, mtimeNs: 0n })
  })

  it('clamps later times to `clampMtimeNs`', () => {
    const clampMtimeNs = THEN + 10n
    const source = diffOf([file('early', '', { mtimeNs: THEN }), file('late', '', { mtimeNs: THEN * 2n })])
    const times = [...diffParts(source, { clampMtimeNs })].flatMap((part) =>
      part.type === 'header' ? [part.header.mtimeNs] : [],
    )
    expect(times).toEqual([THEN, clampMtimeNs])
  })

  it('is an empty tar if nothing changed', () => {
    expect(tarOf(diffOf([file('a')], [])).equals(Buffer.alloc(1024))).toBe(true)
  })
})

describe('the diff of an upper directory', () => {
  const spec = (root: string) => ({ kind: 'host', root, attributes: HERE }) as const
  const open = () => {
    const [upper, lower] = [new HostFs(spec(scratch())), new HostFs(spec(scratch()))]
    const source: DiffSource = { form: 'overlay', upper: upper.spec, lowers: [lower.spec] }
    return { upper, lower, source }
  }
  const put = (fs: SyncFs, path: string, content = '') => {
    const made = fs.open(bytes(path), 0o102, 0o644)
    made.write(Buffer.from(content), 0)
    made.close()
  }

  it('has an opaque marker only if a lower directory exists', () => {
    const { upper, lower, source } = open()
    lower.mkdir(bytes('both'), 0o755)
    put(lower, 'file')
    for (const name of ['both', 'file', 'new']) {
      upper.mkdir(bytes(name), 0o755)
      makeOpaque(upper, bytes(name))
    }
    expect(headersOf(source).map(({ name }) => name)).toEqual(['both/', 'both/.wh..wh..opq', 'file/', 'new/'])
  })

  it('has no whiteout for a name that no lower layer has', () => {
    const { upper, lower, source } = open()
    put(lower, 'real')
    makeWhiteout(upper, bytes('real'))
    makeWhiteout(upper, bytes('nothing'))
    expect(headersOf(source).map(({ name }) => name)).toEqual(['.wh.real'])
    expect(changeLines(diffChanges(source))).toEqual(['delete real'])
  })

  it('leaves out sockets and has whiteouts for the files that they replaced', async () => {
    const { upper, lower, source } = open()
    put(lower, 'replaced')
    const listening = ['replaced', 'alone'].map(
      (name) =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(join(upper.hostPath, name), () => resolve(server))
        }),
    )
    const servers = await Promise.all(listening)
    expect(headersOf(source).map(({ name }) => name)).toEqual(['.wh.replaced'])
    for (const server of servers) server.close()
  })

  it('leaves out the xattrs that store marks and attributes', () => {
    const { upper, source } = open()
    upper.mkdir(bytes('d'), 0o755)
    upper.chown(bytes('d'), 0, 0)
    makeOpaque(upper, bytes('d'))
    upper.setxattr(bytes('d'), bytes('user.own'), Buffer.from('kept'))
    const [header] = headersOf(source)
    expect([...(header?.xattrs.keys() ?? [])]).toEqual(['user.own'])
  })
})

describe('the diff of a file that is truncated during the read', () => {
  it('has as many bytes as the header says', () => {
    const fs = new HostFs({ kind: 'host', root: scratch(), attributes: HERE })
    const made = fs.open(bytes('f'), 0o102, 0o644)
    made.write(Buffer.alloc(2_000_000, 'x'), 0)
    let size = 0
    for (const part of diffParts({ upper: fs })) {
      if (part.type === 'header') made.truncate(10)
      if (part.type === 'content') size += part.bytes.length
    }
    made.close()
    expect(size).toBe(2_000_000)
    fs.unlink(bytes('f'))
  })
})

/** Encodes the diff as a tar and reads its headers back. */
function headersOf(source: DiffSource | OpenTrees): TarHeader[] {
  const reader = new TarReader()
  const parts = [...reader.push(tarOf(source)), ...reader.end()]
  return parts.flatMap((part) => (part.type === 'header' ? [part.header] : []))
}

function tarOf(source: DiffSource | OpenTrees): Buffer {
  return Buffer.concat([...collected(source)])
}

function* collected(source: DiffSource | OpenTrees): Generator<Buffer> {
  for (const { bytes: some } of diffParts(source)) yield Buffer.from(some)
}

/** Encodes the parts as a tar and reads them back. */
function* materialised(parts: ReturnType<typeof diffParts>): ReturnType<TarReader['push']> {
  const reader = new TarReader()
  for (const { bytes: some } of parts) yield* reader.push(Buffer.from(some))
  yield* reader.end()
}
