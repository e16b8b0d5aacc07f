import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Driver } from '#layerstack/drivers/driver.js'
import type { LayerFs } from '#layerstack/fs/layer-fs.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { describeTree } from './trees.js'

export interface Contender {
  readonly name: string
  /** Opens a driver on a root; several times on one root in some tests. */
  open(root: string): Promise<Driver>
  /** Layers in the deepest chain that the tests make. */
  readonly depths: readonly number[]
  /** Why it cannot be tried here. */
  readonly reason?: string | undefined
}

/** What `driver.ts` promises, asked of a driver. */
export function driverContract({ name, open, depths, reason }: Contender): void {
  describe(`${name} keeps the driver's contract`, unless(reason), () => {
    let root: string
    let driver: Driver
    beforeEach(async () => {
      root = mkdtempSync(join(tmpdir(), 'layerstack-drivers-'))
      driver = await open(root)
    })
    afterEach(async () => {
      await driver.cleanup()
      await removeTree(root)
    })

    async function inView<T>(id: string, work: (fs: LayerFs) => Promise<T>): Promise<T> {
      const view = await driver.get(id)
      try {
        return await work(view.fs)
      } finally {
        await driver.put(id)
      }
    }

    const treeOf = (id: string): Promise<string[]> => inView(id, async (fs) => describeTree(fs.raw))

    async function makeBase(): Promise<void> {
      await driver.create('base')
      await inView('base', async (fs) => {
        await fs.mkdir('/etc', { mode: 0o755 })
        await fs.writeFile('/etc/passwd', 'root:x:0:0\n', { mode: 0o644 })
        await fs.mkdir('/usr/lib', { recursive: true, mode: 0o755 })
        await fs.writeFile('/usr/lib/a', 'aaaa')
        await fs.writeFile('/usr/lib/b', 'bbbb')
        await fs.link('/usr/lib/a', '/usr/lib/a2')
        await fs.symlink('lib', '/usr/lib64')
        await fs.chown('/usr/lib/b', 1000, 1001)
        await fs.chmod('/usr/lib/b', 0o4711)
        await fs.mkdir('/tmp', { mode: 0o1777 })
        await fs.setxattr('/etc/passwd', 'user.note', 'kept')
      })
    }

    it('makes an empty layer, and knows it by its id', async () => {
      expect(await driver.exists('base')).toBe(false)
      await driver.create('base')
      expect(await driver.exists('base')).toBe(true)
      expect(await driver.list()).toEqual(['base'])
      await inView('base', async (fs) => {
        expect(await fs.readdir('/')).toEqual([])
        expect(await fs.stat('/')).toMatchObject({ uid: 0, gid: 0, mode: 0o40755 })
      })
    })

    it('shows a child what its parent holds, and keeps what the child does from the parent', async () => {
      await makeBase()
      const before = await treeOf('base')
      await driver.createReadWrite('container', 'base')
      expect(await treeOf('container')).toEqual(before)
      await inView('container', change)
      expect(await treeOf('base')).toEqual(before)
      expect(await treeOf('container')).not.toEqual(before)
      await inView('container', async (fs) => {
        expect(await fs.readdir('/usr/lib')).toEqual(expect.arrayContaining(['a', 'a2']))
        expect(await fs.exists('/usr/lib/b')).toBe(false)
        expect(await fs.readdir('/tmp')).toEqual(['new'])
        expect(await fs.readFile('/etc/passwd', 'utf8')).toBe('root:x:0:0\nme:x:1000:1000\n')
        expect((await fs.getxattr('/etc/passwd', 'user.note'))?.toString()).toBe('kept')
      })
    })

    it('gives each child of a layer its own content', async () => {
      await makeBase()
      await driver.createReadWrite('one', 'base')
      await driver.createReadWrite('two', 'base')
      await inView('one', (fs) => fs.writeFile('/only', 'in one'))
      expect(await inView('two', (fs) => fs.exists('/only'))).toBe(false)
      expect(await inView('one', (fs) => fs.readFile('/only', 'utf8'))).toBe('in one')
    })

    it('shows the attributes of the root directory through layers that say nothing of it', async () => {
      await driver.create('base')
      await inView('base', async (fs) => {
        await fs.chown('/', 7, 8)
        await fs.chmod('/', 0o711)
      })
      await driver.create('middle', 'base')
      await driver.create('top', 'middle')
      await inView('top', async (fs) =>
        expect(await fs.stat('/')).toMatchObject({ mode: 0o40711, uid: 7, gid: 8 }),
      )
    })

    it('counts views: one stays until its own put', async () => {
      await makeBase()
      await driver.createReadWrite('container', 'base')
      const views = await Promise.all([
        driver.get('container'),
        driver.get('container'),
        driver.get('container'),
      ])
      await driver.put('container')
      await driver.put('container')
      await views[2]?.fs.writeFile('/still', 'here')
      expect(await views[0]?.fs.readFile('/still', 'utf8')).toBe('here')
      await expect(driver.remove('container')).rejects.toMatchObject({ code: 'LAYER_IN_USE' })
      await driver.put('container')
      await driver.put('container')
      await driver.remove('container')
      expect(await driver.exists('container')).toBe(false)
      expect(await driver.list()).toEqual(['base'])
    })

    it('opens and closes one view many times at once', async () => {
      await makeBase()
      await driver.createReadWrite('container', 'base')
      const use = async (index: number): Promise<void> => {
        const { fs } = await driver.get('container')
        await fs.writeFile(`/file${index}`, String(index))
        await driver.put('container')
      }
      await Promise.all(Array.from({ length: 30 }, (_, index) => use(index)))
      expect(await inView('container', async (fs) => (await fs.readdir('/')).length)).toBe(33)
      await driver.remove('container')
    })

    it('tells what is not there, and takes its removal well', async () => {
      await expect(driver.get('nothing')).rejects.toMatchObject({ code: 'LAYER_NOT_FOUND' })
      await expect(driver.create('child', 'nothing')).rejects.toMatchObject({ code: 'LAYER_NOT_FOUND' })
      expect(await driver.exists('child')).toBe(false)
      await driver.remove('nothing')
      await driver.put('nothing')
    })

    it('refuses ids that are no names', async () => {
      for (const id of ['', '..', 'a/b', '.hidden'])
        await expect(driver.create(id)).rejects.toThrow(TypeError)
    })

    it('refuses storage options that it does not know', async () => {
      const options = { storageOptions: { flavour: 'mint' } }
      await expect(driver.createReadWrite('layer', undefined, options)).rejects.toMatchObject({
        code: 'ENGINE_UNSUPPORTED',
      })
    })

    it('gives as a diff the tar that makes the child of another copy of the parent', async () => {
      await makeBase()
      await driver.create('app', 'base')
      await inView('app', change)
      const tar = await collect(driver.diff('app', 'base'))
      expect((await collect(driver.diff('app', 'base'))).equals(tar)).toBe(true)
      await driver.create('again', 'base')
      const size = await driver.applyDiff('again', 'base', chunksOf(tar))
      expect(await treeOf('again')).toEqual(await treeOf('app'))
      expect((await collect(driver.diff('again', 'base'))).equals(tar)).toBe(true)
      // A file with two names is one file, in a tar as on a disk.
      expect(size).toBe('hello\n'.length + 'root:x:0:0\nme:x:1000:1000\n'.length + 'new'.length)
      expect(await driver.diffSize('app', 'base')).toBe(size)
    })

    it('gives without a parent the whole tree', async () => {
      await makeBase()
      await driver.create('app', 'base')
      await inView('app', change)
      await driver.create('whole')
      await driver.applyDiff('whole', undefined, chunksOf(await collect(driver.diff('app'))))
      expect(await treeOf('whole')).toEqual(await treeOf('app'))
    })

    it('gives a diff between layers that are not next to each other', async () => {
      await makeBase()
      await driver.create('middle', 'base')
      await inView('middle', (fs) => fs.writeFile('/middle', 'm'))
      await driver.create('top', 'middle')
      await inView('top', change)
      await driver.create('again', 'base')
      await driver.applyDiff('again', 'base', chunksOf(await collect(driver.diff('top', 'base'))))
      expect(await treeOf('again')).toEqual(await treeOf('top'))
      expect(await driver.diffSize('top', 'base')).toBe(1 + (await driver.diffSize('top', 'middle')))
    })

    it('lists changes by path, with the directories that they are in', async () => {
      await makeBase()
      await driver.createReadWrite('container', 'base')
      await inView('container', change)
      const changes: string[] = []
      for await (const { kind, path } of driver.changes('container', 'base')) changes.push(`${kind} ${path}`)
      expect(changes).toEqual([
        'modify /etc',
        'add /etc/motd',
        'add /etc/motd2',
        'modify /etc/passwd',
        'add /pipe',
        'modify /tmp',
        'add /tmp/new',
        'modify /usr',
        'modify /usr/lib',
        'delete /usr/lib/b',
        'modify /usr/lib64',
      ])
    })

    it('applies in parallel, to different layers', async () => {
      await makeBase()
      const tar = await collect(driver.diff('base'))
      const ids = Array.from({ length: 6 }, (_, index) => `layer${index}`)
      await Promise.all(ids.map((id) => driver.create(id)))
      await Promise.all(ids.map((id) => driver.applyDiff(id, undefined, chunksOf(tar))))
      const expected = await treeOf('base')
      for (const id of ids) expect(await treeOf(id)).toEqual(expected)
    })

    it('makes a writable layer a read-only one without copying it', async () => {
      if (driver.adopt === undefined) throw new Error('this driver has no adopt: say so here')
      await makeBase()
      await driver.createReadWrite('container', 'base')
      await inView('container', change)
      const before = await treeOf('container')
      const tar = await collect(driver.diff('container', 'base'))
      const held = await driver.get('container')
      expect(held.fs).toBeDefined()
      await expect(driver.adopt('container', 'layer')).rejects.toMatchObject({ code: 'LAYER_IN_USE' })
      await driver.put('container')
      await driver.adopt('container', 'layer')
      expect((await driver.list()).toSorted()).toEqual(['base', 'layer'])
      expect(await treeOf('layer')).toEqual(before)
      expect((await collect(driver.diff('layer', 'base'))).equals(tar)).toBe(true)
      await driver.create('child', 'layer')
      expect(await treeOf('child')).toEqual(before)
    })

    it.each(depths)('shows %i layers as one', { timeout: 120_000 }, async (depth) => {
      for (let index = 0; index < depth; index++) {
        await driver.create(`layer${index}`, index === 0 ? undefined : `layer${index - 1}`)
        if (index % 10 !== 0 && index !== depth - 1) continue
        const tar = await oneFile(`file${index}`)
        await driver.applyDiff(`layer${index}`, index === 0 ? undefined : `layer${index - 1}`, chunksOf(tar))
      }
      await driver.createReadWrite('container', `layer${depth - 1}`)
      await inView('container', async (fs) => {
        expect(await fs.readFile('/file0', 'utf8')).toBe('file0')
        expect(await fs.readFile(`/file${depth - 1}`, 'utf8')).toBe(`file${depth - 1}`)
        expect(await fs.readdir('/')).toHaveLength(Math.ceil(depth / 10) + (depth % 10 === 1 ? 0 : 1))
        await fs.writeFile('/file0', 'changed')
      })
      expect(await driver.diffSize('container', `layer${depth - 1}`)).toBe('changed'.length)
    })

    it('finds its layers again when it is opened anew', async () => {
      await makeBase()
      await driver.createReadWrite('container', 'base')
      await inView('container', change)
      const before = await treeOf('container')
      await driver.cleanup()
      driver = await open(root)
      expect((await driver.list()).toSorted()).toEqual(['base', 'container'])
      expect(await treeOf('container')).toEqual(before)
    })

    it('lets no one remove a layer that somebody else has open', async () => {
      await makeBase()
      await driver.createReadWrite('container', 'base')
      const other = await open(root)
      const view = await driver.get('container')
      await expect(other.remove('container')).rejects.toMatchObject({ code: 'LAYER_IN_USE' })
      expect(await view.fs.exists('/etc/passwd')).toBe(true)
      await driver.put('container')
      await other.remove('container')
      expect(await driver.exists('container')).toBe(false)
      await other.cleanup()
    })

    it('has a host path where it says so, and shows the same there', async () => {
      await makeBase()
      await driver.createReadWrite('container', 'base')
      const view = await driver.get('container')
      expect(view.hostPath !== undefined).toBe(driver.capabilities.hostPath)
      if (view.hostPath !== undefined) expect(existsSync(join(view.hostPath, 'etc/passwd'))).toBe(true)
      await driver.put('container')
    })

    it('gives back at cleanup all that was got, and may be cleaned up twice', async () => {
      await makeBase()
      await driver.createReadWrite('container', 'base')
      await driver.get('container')
      await driver.get('container')
      await driver.cleanup()
      await driver.cleanup()
      await driver.remove('container')
    })

    it('stops a diff and an apply when they are aborted', async () => {
      await driver.create('base')
      await inView('base', async (fs) => {
        for (let index = 0; index < 40; index++) await fs.writeFile(`/file${index}`, randomBytes(200_000))
      })
      const tar = await collect(driver.diff('base'))
      const signal = AbortSignal.abort(new Error('enough'))
      await expect(collect(driver.diff('base', undefined, { signal }))).rejects.toThrow('enough')
      await driver.create('other')
      await expect(driver.applyDiff('other', undefined, chunksOf(tar), { signal })).rejects.toThrow('enough')
      await driver.remove('other')
    })

    async function oneFile(content: string): Promise<Buffer> {
      const id = `scratch-${content}`
      await driver.create(id)
      await inView(id, (fs) => fs.writeFile(`/${content}`, content))
      const tar = await collect(driver.diff(id))
      await driver.remove(id)
      return tar
    }
  })
}

async function change(fs: LayerFs): Promise<void> {
  await fs.writeFile('/etc/motd', 'hello\n')
  await fs.appendFile('/etc/passwd', 'me:x:1000:1000\n')
  await fs.unlink('/usr/lib/b')
  await fs.rm('/tmp', { recursive: true })
  await fs.mkdir('/tmp', { mode: 0o700 })
  await fs.writeFile('/tmp/new', 'new')
  await fs.chmod('/usr/lib', 0o700)
  await fs.unlink('/usr/lib64')
  await fs.mkdir('/usr/lib64')
  await fs.link('/etc/motd', '/etc/motd2')
  await fs.mknod('/pipe', 'fifo', { mode: 0o600 })
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const collected: Uint8Array[] = []
  for await (const chunk of chunks) collected.push(chunk)
  return Buffer.concat(collected)
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += 10_007) yield bytes.subarray(at, at + 10_007)
}
