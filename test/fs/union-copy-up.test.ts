import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { UnionFs } from '#layerstack/fs/union/union-fs.js'
import { loopTurns } from '../support/loop-turns.js'
import { unless } from '../support/needs.js'
import { Bench, noOracle } from './union-bench.js'
import { bytes, OLD_NS } from './union-layers.js'

const { O_CREAT, O_RDONLY, O_RDWR, O_WRONLY } = constants
const MIB = 1024 * 1024
const reason = noOracle()
const LARGE = 96 * MIB
const FILE = bytes('deep/dir/file')

const benches: Bench[] = []
afterEach(() => {
  for (const bench of benches.splice(0)) bench.remove()
})

describe('a copy-up', () => {
  it('keeps the times of the directories that it comes into, and of those that come with it', () => {
    const union = prepared('content').union()
    union.chmod(FILE, 0o600)
    for (const path of ['', 'deep', 'deep/dir', 'deep/dir/file']) {
      expect(union.lstat(bytes(path)).mtimeNs, path).toBe(OLD_NS)
    }
  })

  it('leaves the other names of a hard link as they were, and gives the copy an identity of its own', () => {
    const bench = prepared('content')
    bench.layers.low.link(FILE, bytes('second'))
    const union = bench.union()
    expect(identity(union, bytes('second'))).toBe(identity(union, FILE))
    write(union, FILE, 'changed')
    expect(read(union, FILE)).toBe('changed')
    expect(read(union, bytes('second'))).toBe('content')
    expect(identity(union, bytes('second'))).not.toBe(identity(union, FILE))
    expect(union.lstat(FILE).nlink).toBe(1)
  })

  it('never touches the lower layer, through a descriptor neither', () => {
    const bench = prepared('content')
    const union = bench.union()
    const file = union.open(FILE, O_RDONLY)
    file.chmod(0o600)
    file.utimes(1n, 2n)
    file.close()
    write(union, FILE, 'changed')
    expect(read(bench.layers.low, FILE)).toBe('content')
    expect(bench.layers.low.lstat(FILE)).toMatchObject({ mode: 0o640, mtimeNs: OLD_NS })
    expect(union.lstat(FILE)).toMatchObject({ mode: 0o600 })
  })

  it('does not change a lower file through a descriptor of a name that is gone', () => {
    const bench = prepared('content')
    const union = bench.union()
    const file = union.open(FILE, O_RDONLY)
    union.unlink(FILE)
    write(union, FILE, 'another')
    expect(() => file.chmod(0o600)).toThrow(expect.objectContaining({ code: 'EROFS' }))
    expect(bench.layers.low.lstat(FILE).mode).toBe(0o640)
    expect(union.lstat(FILE).mode).toBe(0o644)
    file.close()
  })

  it('keeps holes', () => {
    const bench = prepared('')
    const sparse = bench.layers.low.open(FILE, O_RDWR)
    sparse.write(Buffer.from('start'), 0)
    sparse.write(Buffer.from('end'), 64 * MIB)
    sparse.close()
    const union = bench.union()
    write(union, FILE, 'S')
    const { size, blocks } = union.lstat(FILE)
    expect(size).toBe(64 * MIB + 3)
    expect(blocks * 512).toBeLessThan(MIB)
    expect(read(union, FILE, 5)).toBe('Start')
    expect(read(union, FILE, 3, 64 * MIB)).toBe('end')
  })

  it('copies what the kernel copies in pieces to the last byte', () => {
    const content = Buffer.alloc(5 * MIB + 77, 'abcdefg')
    const bench = prepared(content)
    const union = bench.union()
    union.open(FILE, O_RDWR).close()
    expect(readWhole(union, FILE).equals(content)).toBe(true)
    expect(bench.layers.upper.lstat(FILE).size).toBe(content.length)
  })

  it('takes only as much as a truncation leaves', () => {
    const union = prepared(Buffer.alloc(4 * MIB, 'x')).union()
    union.truncate(FILE, 3)
    expect(read(union, FILE)).toBe('xxx')
    expect(union.lstat(FILE).size).toBe(3)
  })

  it('clears what a crash left in the work directory, before it makes anything there', () => {
    const bench = prepared('content')
    const [directory, name] = bench.workspace
    bench.union().chmod(FILE, 0o600)
    writeFileSync(join(directory, `${name}1`), 'half')
    bench.union().chmod(bytes('deep/other'), 0o600)
    expect(staged(bench)).toEqual([])
  })

  it('works without a work directory', () => {
    const bench = prepared('content')
    const { work: _none, ...spec } = bench.spec
    const union = new UnionFs(spec)
    write(union, FILE, 'changed')
    union.unlink(bytes('deep/other'))
    union.mkdir(bytes('deep/other'), 0o755)
    const again = new UnionFs(spec)
    expect(read(again, FILE)).toBe('changed')
    expect(again.readdir(bytes('deep/other'))).toEqual([])
    expect(again.readdir(bytes('')).map(({ name }) => name)).toEqual(['deep'])
    expect(bench.marks(bytes(''))).toEqual([
      '/deep directory',
      '/deep/dir directory',
      '/deep/dir/file file',
      '/deep/other directory',
    ])
  })

  it('that finds no space leaves everything as it was', unless(reason), () => {
    const content = Buffer.alloc(8 * MIB, 'x')
    const bench = prepared(content)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', join(bench.root, 'merged')])
    try {
      for (const name of ['upper', 'work']) mkdirSync(join(bench.root, 'merged', name))
      const { lowers } = bench.spec
      const upper = { kind: 'host', root: join(bench.root, 'merged', 'upper') } as const
      const union = new UnionFs({ kind: 'union', upper, work: join(bench.root, 'merged', 'work'), lowers })
      for (const call of [() => union.open(FILE, O_RDWR), () => union.chmod(FILE, 0o600)]) {
        expect(call).toThrow(expect.objectContaining({ code: 'ENOSPC' }))
      }
      expect(readWhole(union, FILE).equals(content)).toBe(true)
      expect(readdirSync(join(bench.root, 'merged', 'work', 'work'))).toEqual([])
      union.truncate(FILE, 5)
      expect(read(union, FILE)).toBe('xxxxx')
    } finally {
      execFileSync('umount', [join(bench.root, 'merged')])
    }
  })

  it('is whole or not there at all, wherever it is killed', async () => {
    const content = Buffer.alloc(3 * MIB, 'abc')
    const bench = prepared('')
    const names = Array.from({ length: 40 }, (_, number) => bytes(`deep/many-${number}`))
    for (const name of names) writeTo(bench.layers.low, name, content)
    const child = spawn(process.execPath, [new URL('union-copier.mjs', import.meta.url).pathname], {
      env: { ...process.env, UNION_SPEC: JSON.stringify(bench.spec), UNION_NAMES: names.join() },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'exit')
    const copied = bench.layers.upper.readdir(bytes('deep')).length
    expect(copied).toBeGreaterThan(0)
    expect(copied).toBeLessThan(names.length)
    const union = bench.union()
    for (const name of names) {
      expect(readWhole(union, name).equals(content), name).toBe(true)
      expect(union.lstat(name).mtimeNs).toBe(OLD_NS)
    }
  })
})

describe('preparing a write', () => {
  it('copies a large file up without holding up the event loop', async () => {
    const content = Buffer.alloc(LARGE, 'layer')
    const bench = prepared(content)
    const union = bench.union()
    expect(await loopTurns(Promise.resolve(union.prepareWrite(FILE)))).toBeGreaterThan(5)
    expect(bench.layers.upper.lstat(FILE)).toMatchObject({ size: LARGE, mode: 0o640, mtimeNs: OLD_NS })
    expect(readWhole(union, FILE).equals(content)).toBe(true)
  })

  it('copies a small file up, too, where content must be on disk first', async () => {
    const bench = prepared('small')
    await bench.union({ volatile: false }).prepareWrite(FILE)
    expect(bench.layers.upper.lstat(FILE)).toMatchObject({ size: 5, mode: 0o640, mtimeNs: OLD_NS })
    expect(staged(bench)).toHaveLength(0)
  })

  it('leaves small files that need not be, directories, upper files and names that are not there alone', async () => {
    const bench = prepared('small')
    const union = bench.union()
    await union.prepareWrite(FILE)
    await union.prepareWrite(bytes('deep'))
    await union.prepareWrite(bytes('deep/none'))
    expect(bench.layers.upper.readdir(bytes(''))).toEqual([])
    expect(await bench.below('upper').prepareWrite(FILE)).toBeUndefined()
  })

  it('makes one copy for all who wait for it', async () => {
    const bench = prepared(Buffer.alloc(LARGE, 'x'))
    const union = bench.union()
    const waits = [union.prepareWrite(FILE), union.prepareWrite(FILE), union.prepareWrite(FILE)]
    expect(staged(bench)).toHaveLength(1)
    await Promise.all(waits)
    expect(staged(bench)).toHaveLength(0)
    expect(union.lstat(FILE).size).toBe(LARGE)
  })

  it('ends at once when it is aborted, and leaves nothing', async () => {
    const bench = prepared(Buffer.alloc(LARGE, 'x'))
    const union = bench.union()
    const controller = new AbortController()
    const wait = union.prepareWrite(FILE, controller.signal)
    controller.abort(new Error('enough'))
    await expect(wait).rejects.toThrow('enough')
    await expect.poll(() => staged(bench)).toHaveLength(0)
    expect(bench.layers.upper.readdir(bytes(''))).toEqual([])
    await expect(union.prepareWrite(FILE, controller.signal)).rejects.toThrow('enough')
    await union.prepareWrite(FILE)
    expect(bench.layers.upper.lstat(FILE).size).toBe(LARGE)
  })

  it('goes on for who still waits when another one gives up', async () => {
    const bench = prepared(Buffer.alloc(LARGE, 'x'))
    const union = bench.union()
    const controller = new AbortController()
    const first = union.prepareWrite(FILE, controller.signal)
    const second = union.prepareWrite(FILE)
    controller.abort()
    await expect(first).rejects.toThrow()
    await second
    expect(bench.layers.upper.lstat(FILE).size).toBe(LARGE)
  })

  for (const [what, meanwhile, shows] of [
    ['written', (fs: SyncFs) => write(fs, FILE, 'mine'), 'mine'],
    ['removed', (fs: SyncFs) => fs.unlink(FILE), undefined],
    ['moved', (fs: SyncFs) => fs.rename(FILE, bytes('moved')), undefined],
    [
      'replaced',
      (fs: SyncFs) => {
        fs.unlink(FILE)
        write(fs, FILE, 'new')
      },
      'new',
    ],
  ] as const) {
    it(`drops its copy when the file is ${what} meanwhile`, async () => {
      const bench = prepared(Buffer.alloc(LARGE, 'x'))
      const union = bench.union()
      const wait = union.prepareWrite(FILE)
      meanwhile(union)
      await wait
      if (shows === undefined) {
        expect(() => union.lstat(FILE)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
      } else {
        expect(read(union, FILE, shows.length)).toBe(shows)
      }
      expect(staged(bench)).toHaveLength(0)
    })
  }

  it('ends with the union', async () => {
    const bench = prepared(Buffer.alloc(LARGE, 'x'))
    const union = bench.union()
    const wait = union.prepareWrite(FILE)
    union.close()
    await expect(wait).rejects.toThrow()
    expect(staged(bench)).toHaveLength(0)
    expect(bench.layers.upper.readdir(bytes(''))).toEqual([])
  })
})

/** A lower layer with `deep/dir/file` of this content, and `deep/other`. */
function prepared(content: string | Uint8Array): Bench {
  const bench = new Bench()
  benches.push(bench)
  const { low } = bench.layers
  low.mkdir(bytes('deep'), 0o755)
  low.mkdir(bytes('deep/dir'), 0o755)
  writeTo(low, FILE, Buffer.from(content))
  writeTo(low, bytes('deep/other'), Buffer.from('other'))
  for (const path of ['deep/dir', 'deep']) low.utimes(bytes(path), OLD_NS, OLD_NS)
  bench.setTimes()
  return bench
}

function writeTo(fs: SyncFs, path: ByteString, content: Buffer): void {
  const file = fs.open(path, O_WRONLY | O_CREAT, 0o640)
  for (let done = 0; done < content.length;) done += file.write(content.subarray(done), done)
  file.close()
  fs.utimes(path, OLD_NS, OLD_NS)
}

function write(fs: SyncFs, path: ByteString, content: string): void {
  const file = fs.open(path, O_WRONLY | O_CREAT, 0o644)
  file.write(Buffer.from(content), 0)
  file.close()
}

function read(fs: SyncFs, path: ByteString, length = 100, position = 0): string {
  const file = fs.open(path, O_RDONLY)
  const buffer = Buffer.alloc(length)
  const count = file.read(buffer, position)
  file.close()
  return buffer.toString('latin1', 0, count)
}

function readWhole(fs: SyncFs, path: ByteString): Buffer {
  const file = fs.open(path, O_RDONLY)
  const buffer = Buffer.alloc(file.stat().size)
  for (let done = 0; done < buffer.length;) done += file.read(buffer.subarray(done), done)
  file.close()
  return buffer
}

function identity(fs: SyncFs, path: ByteString): string {
  const { dev, ino } = fs.lstat(path)
  return `${dev}:${ino}`
}

/** Copies that are being made; a whiteout may lie there for good. */
function staged(bench: Bench): string[] {
  const [directory, prefix] = bench.workspace
  const entries = readdirSync(directory, { withFileTypes: true })
  return entries.filter((entry) => entry.isFile() && entry.name.startsWith(prefix)).map(({ name }) => name)
}
