/** @module-tag every-identity */
import { createHash } from 'node:crypto'
import {
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { treeOf, treesDiffer } from '#layerstack/conformance/tree.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { compareSnapshot, type Snapshot } from '#layerstack/fs/trees/compare-snapshot.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import type { SyncFs, SyncStat } from '#layerstack/fs/sync-fs.js'
import type { HostFsSpec } from '#layerstack/fs/spec.js'
import { removeQgroup } from '#layerstack/sys/btrfs-quota.js'
import { diffChanges, diffParts, prepareDiff, type DiffSource } from '#layerstack/tar/diff.js'
import { rawSteps } from '../fuzz/arbitrary.js'
import { takeRaw } from '../fuzz/raw-steps.js'
import { changeLines } from '../support/change-lines.js'
import { loopTurns } from '../support/loop-turns.js'
import { noCalls, noMounts, notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { btrfsFixture, noBtrfs, type BtrfsFixture } from './btrfs-fixture.js'

const { O_CREAT, O_WRONLY } = constants
const FILES = ['deep/down/below/file', 'deep/down/linked'] as [ByteString, ByteString]
/** Node's constants have no name for it. */
const EDQUOT = 122

describe('btrfs on the kernel engine', unless(noBtrfs), () => {
  let fixture: BtrfsFixture
  let root: string
  let driver: Driver
  const reopen = async (): Promise<void> => {
    driver = await btrfs.open({ root, engine: 'auto', readOnly: false })
  }

  beforeEach(async () => {
    fixture = await btrfsFixture()
    root = join(fixture.path, 'root')
    mkdirSync(root)
    await reopen()
  })
  afterEach(async () => {
    await driver.cleanup()
    await fixture[Symbol.asyncDispose]()
  })

  async function inView<T>(id: string, work: (raw: SyncFs, path: string) => T): Promise<T> {
    const { fs } = await driver.get(id)
    try {
      // Reading `hostPath` of the view would record that programs may write to the layer.
      return await work(fs.syncFs, join(root, 'btrfs/subvolumes', id))
    } finally {
      await driver.put(id)
    }
  }

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'finds the same changes as a comparison of whole trees, seed %i',
    async (seed) => {
      let part = 0
      const steps = (raw: SyncFs, most = 300): void => {
        for (const step of rawSteps(seed * 10 + part, most)) attempt(() => takeRaw(raw, step, String))
        part += 1
      }
      await driver.create('base')
      await inView('base', (raw) => {
        steps(raw)
        for (const name of ['deep', 'deep/down', 'deep/down/below']) raw.mkdir(name as ByteString, 0o755)
        for (const name of FILES) raw.open(name, O_CREAT | O_WRONLY, 0o644).close()
      })
      for (const [id, parent] of [
        ['one', 'base'],
        ['two', 'one'],
      ] as const) {
        await driver.createReadWrite(id, parent)
        await inView(id, (raw) => {
          steps(raw, id === 'one' ? 3 : 300)
          const file = raw.open(FILES[0], O_WRONLY)
          file.write(Buffer.from(id), 0)
          file.close()
          raw.link(FILES[1], `deep/${id}` as ByteString)
        })
        const source = await sourceOf(id, parent)
        expect(source.form).toBe('snapshot')
        const { upper, lower } = source as { upper: HostFsSpec; lower: HostFsSpec }
        const naive: DiffSource = { form: 'compare', upper, lower }
        expect(changesOf(source)).toEqual(changesOf(naive))
        expect(changesOf(source)).toContain('modify deep/down/below/file')
        expect(tarOrRefusal(source)).toBe(tarOrRefusal(naive))
      }
    },
  )

  it('finds one changed file among 1,000 with fewer than 20 reads of file system objects', async () => {
    await driver.create('base')
    await inView('base', (_, path) => {
      for (let index = 0; index < 1000; index++) {
        if (index % 100 === 0) mkdirSync(join(path, `dir${index}`))
        writeFileSync(join(path, `dir${index - (index % 100)}`, `file${index}`), 'x')
      }
    })
    await driver.createReadWrite('child', 'base')
    await inView('child', (_, path) => writeFileSync(join(path, 'dir500/file555'), 'changed'))
    const source = (await sourceOf('child', 'base')) as Snapshot & { upper: HostFsSpec; lower: HostFsSpec }
    using upper = new CountedFs(source.upper)
    using lower = new CountedFs(source.lower)
    expect(changeLines(compareSnapshot(source, upper, lower))).toEqual([
      'modify dir500',
      'modify dir500/file555',
    ])
    expect(upper.looks + lower.looks).toBeLessThan(20)
  })

  it('prepares a diff in small steps, at least one per written file', async () => {
    const count = 2000
    await driver.create('base')
    await driver.createReadWrite('child', 'base')
    await inView('child', (_, path) => {
      for (let index = 0; index < count; index++) {
        writeFileSync(join(path, `file${index}`), 'x')
        if (index % 10 === 0) linkSync(join(path, `file${index}`), join(path, `link${index}`))
      }
    })
    const source = await sourceOf('child', 'base')
    const steps = prepareDiff(source)
    let taken = 0
    let step = steps.next()
    for (; step.done !== true; step = steps.next()) taken++
    expect(taken).toBeGreaterThanOrEqual(count)
    const changes = changeLines(diffChanges(step.value))
    expect(changes).toEqual(changeLines(diffChanges(source)))
    expect(changes).toHaveLength(count + count / 10)
  })

  async function sourceOf(id: string, parent: string): Promise<DiffSource> {
    return (await driver.diffSource?.(id, parent)) as DiffSource
  }

  it('writes a new layer to disk before its creation resolves', async () => {
    await driver.create('base')
    const onDisk = async (): Promise<string> => {
      const tree = ['inspect-internal', 'dump-tree', '--tree', 'root', join(fixture.path, '../image')]
      return (await run('btrfs', tree)).toString()
    }
    expect(await onDisk()).toMatch(/root ref key dirid \d+ sequence \d+ name base$/m)
    await driver.createReadWrite('container', 'base')
    expect(await onDisk()).toMatch(/root ref key dirid \d+ sequence \d+ name container$/m)
  })

  it('does not block the event loop to create or remove a layer, even with much unwritten data', async () => {
    await driver.create('base')
    const fill = (path: string) => writeFileSync(join(path, 'large'), Buffer.alloc(128 << 20, 1))
    await inView('base', (_, path) => fill(path))
    const turns = [await loopTurns(driver.createReadWrite('child', 'base'))]
    await inView('child', (_, path) => {
      for (let index = 0; index < 5000; index++) writeFileSync(join(path, `file${index}`), 'x')
    })
    turns.push(await loopTurns(driver.remove('child')))
    expect(Math.min(...turns)).toBeGreaterThan(20)
  })

  it('removes a layer together with its nested subvolumes', async () => {
    await driver.create('base')
    const below = await inView('base', (_, path) => path)
    await run('mkdir', [join(below, 'deep')])
    await run('btrfs', ['subvolume', 'create', join(below, 'deep', 'one')])
    await run('btrfs', ['subvolume', 'create', join(below, 'deep', 'one', 'two')])
    await run('btrfs', ['subvolume', 'create', join(below, 'other')])
    await driver.remove('base')
    expect(await subvolumes()).toEqual([])
  })

  /** Creates subvolumes in a layer: nested, read-only, and with a name that is not UTF-8. */
  async function withSubvolumes(id: string): Promise<string> {
    const path = await inView(id, (_, at) => at)
    const script = `set -e; cd "$1"
      btrfs subvolume create deep/one; echo 1 > deep/one/file; chown 5:6 deep/one; chmod 2750 deep/one
      btrfs subvolume create deep/one/two; echo 2 > deep/one/two/file; ln deep/one/two/file deep/one/two/link
      btrfs subvolume create locked; echo 3 > locked/file; btrfs property set locked ro true
      btrfs subvolume create $'odd\\xff'; echo 4 > $'odd\\xff/file'
      rmdir replaced; btrfs subvolume create replaced; echo 5 > replaced/file
      touch -d @1000000000 deep/one deep .`
    await run('bash', ['-c', script, 'bash', path])
    return path
  }

  async function base(): Promise<void> {
    await driver.create('base')
    await inView('base', (_, path) => {
      for (const name of ['deep', 'replaced']) mkdirSync(join(path, name))
    })
  }

  const treeIn = (id: string) => inView(id, (raw) => treeOf(raw, { times: (path) => path !== '/' }))

  it('includes the content of nested subvolumes in diffs and changes', async () => {
    await base()
    await driver.createReadWrite('container', 'base')
    await withSubvolumes('container')
    const changes: string[] = []
    for await (const { kind, path } of driver.changes('container', 'base')) changes.push(`${kind} ${path}`)
    expect(changes).toEqual(expect.arrayContaining(['add /deep/one/two/file', 'add /replaced/file']))
    expect(changes).toContain('add /locked/file')
    expect(await driver.diffSize('container', 'base')).toBe(10)
    await driver.create('copy', 'base')
    await driver.applyDiff('copy', 'base', driver.diff('container', 'base'))
    expect((await treeIn('copy')).get('/deep/one/two/link')).toBe(
      (await treeIn('container')).get('/deep/one/two/link'),
    )
    await driver.remove('container')
    expect(await subvolumes()).toHaveLength(2)
  })

  it('shows the content of nested subvolumes in a child layer', async () => {
    await base()
    await driver.createReadWrite('container', 'base')
    await withSubvolumes('container')
    await driver.createReadWrite('child', 'container')
    expect(treesDiffer(await treeIn('child'), await treeIn('container'))).toBeUndefined()
  })

  it('turns nested subvolumes into plain directories when it adopts a layer', async () => {
    await base()
    await driver.createReadWrite('container', 'base')
    await withSubvolumes('container')
    const before = await treeIn('container')
    await driver.adopt?.('container', 'adopted')
    expect(treesDiffer(await treeIn('adopted'), before)).toBeUndefined()
    await driver.createReadWrite('child', 'adopted')
    expect(treesDiffer(await treeIn('child'), before)).toBeUndefined()
    expect(await subvolumes()).toHaveLength(3)
    expect(readdirSync(join(root, 'btrfs/subvolumes')).toSorted()).toEqual(['adopted', 'base', 'child'])
  })

  it.each(['before', 'after'])(
    'recovers from a crash %s the replacement of a nested subvolume',
    async (when) => {
      await base()
      await driver.createReadWrite('container', 'base')
      const path = await withSubvolumes('container')
      const before = await treeIn('container')
      writeFileSync(`${path}-replacing`, '')
      const aside = join(path, '.wh..wh.layerstack.nested')
      if (when === 'before') await run('cp', ['-a', join(path, 'deep'), aside])
      else await run('btrfs', ['subvolume', 'snapshot', join(path, 'deep/one'), aside])
      await run('touch', ['-d', '@1000000000', path])
      await reopen()
      for await (const { path: changed } of driver.changes('container', 'base'))
        expect(changed).not.toContain('.wh.')
      expect(treesDiffer(await treeIn('container'), before)).toBeUndefined()
      expect(existsSync(`${path}-replacing`)).toBe(false)
    },
  )

  it('finishes an interrupted removal at open, and clears an interrupted creation at removal', async () => {
    await driver.create('base')
    const path = join(root, 'btrfs', 'subvolumes')
    await run('mv', [join(path, 'base'), join(path, 'base-removing')])
    await run('btrfs', ['subvolume', 'create', join(path, 'half-making')])
    await reopen()
    expect(await driver.list()).toEqual([])
    await driver.remove('half')
    expect(await subvolumes()).toEqual([])
  })

  it('refuses the loopback option for a root that holds layers', async () => {
    await driver.create('base')
    const wanted = {
      root,
      engine: 'auto',
      readOnly: false,
      driverOptions: { loopback: { size: '256M' } },
    } as const
    await expect(btrfs.open(wanted)).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      hint: expect.stringContaining('leave loopback out'),
    })
    expect(existsSync(join(root, 'layerstack/btrfs.img'))).toBe(false)
    expect(await driver.list()).toEqual(['base'])
  })

  it('reports its file system and capabilities, and the directory of a layer', async () => {
    expect(await driver.status()).toEqual([
      ['Backing Filesystem', 'btrfs'],
      ['Native Diff', 'true'],
      ['Quota', 'false'],
      ['Attributes', 'native'],
      ['Timestamps', 'precise to 1 ns'],
    ])
    await driver.create('base')
    expect(await driver.metadata('base')).toEqual({ SourceDir: join(root, 'btrfs/subvolumes/base') })
  })

  it('limits a layer and removes its qgroup if quota is on, and refuses a limit if quota is off', async () => {
    const limited = { storageOptions: { size: '16m' } }
    expect(driver.capabilities.quota).toBe(false)
    await expect(driver.createReadWrite('c', undefined, limited)).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
    })
    await run('btrfs', ['quota', 'enable', fixture.path])
    await reopen()
    expect(driver.capabilities.quota).toBe(true)
    expect(await driver.status()).toContainEqual(['Quota', 'true'])
    await driver.createReadWrite('c', undefined, limited)
    const write = inView('c', (raw) => {
      const file = raw.open('big' as never, 0o102, 0o600)
      try {
        for (let at = 0; at < 64; at++) file.write(Buffer.alloc(1 << 20, at), at << 20)
        file.sync()
      } finally {
        file.close()
      }
    })
    await expect(write).rejects.toMatchObject({ errno: -EDQUOT })
    await driver.remove('c')
    await driver.cleanup()
    // The kernel removes the qgroup some time after the removal, once the subvolume is freed.
    await expect.poll(qgroups, { timeout: 60_000 }).toEqual(['0/5'])
  }, 90_000)

  /** Uses level 1: current kernels remove level-0 qgroups themselves, and create none without a subvolume. */
  it('removes a qgroup and ignores a missing one', async () => {
    await run('btrfs', ['quota', 'enable', fixture.path])
    await run('btrfs', ['qgroup', 'create', '1/5', fixture.path])
    const groups = async (): Promise<string> =>
      (await run('btrfs', ['qgroup', 'show', fixture.path])).toString()
    expect(await groups()).toContain('1/5')
    for (let time = 0; time < 2; time++) {
      removeQgroup(fixture.path, (1n << 48n) + 5n)
      expect(await groups()).not.toContain('1/5')
    }
  })

  async function qgroups(): Promise<string[] | null> {
    await run('btrfs', ['filesystem', 'sync', fixture.path])
    return (await run('btrfs', ['qgroup', 'show', fixture.path])).toString().match(/^0\/\d+/gm)
  }

  async function subvolumes(): Promise<string[]> {
    const said = (await run('btrfs', ['subvolume', 'list', fixture.path])).toString()
    return said.split('\n').filter((line) => line !== '')
  }
})

describe('btrfs as an ordinary user', () => {
  const given = process.env['LAYERSTACK_TEST_BTRFS']
  const reason =
    noCalls ??
    notInstalled('btrfs') ??
    (given === undefined ? 'LAYERSTACK_TEST_BTRFS names no directory on btrfs' : undefined)

  it(
    'adopts and removes a layer with nested and read-only subvolumes, and reports no quota',
    unless(reason),
    async () => {
      const root = mkdtempSync(join(given ?? '', 'layerstack-own-'))
      const driver = await btrfs.open({ root, engine: 'kernel', readOnly: false })
      expect(Object.fromEntries(await driver.status())).toMatchObject({
        'Native Diff': 'false',
        Quota: 'false',
      })
      await driver.create('base')
      const { SourceDir = '' } = await driver.metadata('base')
      await run('btrfs', ['subvolume', 'create', join(SourceDir, 'one')])
      await run('btrfs', ['subvolume', 'create', join(SourceDir, 'one', 'two')])
      await run('touch', [join(SourceDir, 'one', 'two', 'file')])
      await run('btrfs', ['property', 'set', join(SourceDir, 'one', 'two'), 'ro', 'true'])
      await driver.adopt?.('base', 'adopted')
      await driver.create('child', 'adopted')
      const view = await driver.get('child')
      expect(await view.fs.readdir('/one/two')).toEqual(['file'])
      await driver.put('child')
      for (const id of ['child', 'adopted']) await driver.remove(id)
      expect(readdirSync(join(root, 'btrfs/subvolumes'))).toEqual([])
      await driver.cleanup()
      rmSync(root, { recursive: true })
    },
  )
})

describe('btrfs without its requirements', () => {
  it(
    'refuses the loopback option without the privilege to mount, with a hint',
    unless(noMounts === undefined ? 'this process can mount' : undefined),
    async () => {
      const root = mkdtempSync(join(tmpdir(), 'layerstack-no-btrfs-'))
      const wanted = { root, readOnly: false, driverOptions: { loopback: { size: '256M' } } } as const
      try {
        for (const engine of ['kernel', 'auto'] as const) {
          await expect(btrfs.open({ ...wanted, engine })).rejects.toMatchObject({
            code: 'ENGINE_UNSUPPORTED',
            hint: expect.stringContaining('as root'),
          })
        }
        expect(readdirSync(root)).toEqual([])
      } finally {
        rmSync(root, { recursive: true, force: true })
      }
    },
  )

  it('fails with a hint outside a btrfs file system', async () => {
    const root = mkdtempSync(join(tmpdir(), 'layerstack-no-btrfs-'))
    try {
      await expect(btrfs.open({ root, engine: 'kernel', readOnly: false })).rejects.toMatchObject({
        code: 'ENGINE_UNSUPPORTED',
        hint: expect.stringContaining('btrfs file system'),
      })
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })
})

class CountedFs extends HostFs {
  looks = 0

  override lstat(path: ByteString): SyncStat {
    this.looks++
    return super.lstat(path)
  }

  override readdir(path: ByteString): ReturnType<HostFs['readdir']> {
    this.looks++
    return super.readdir(path)
  }
}

function changesOf(source: DiffSource): string[] {
  return changeLines(diffChanges(source))
}

function tarOf(source: DiffSource): Buffer {
  const chunks: Buffer[] = []
  for (const { bytes } of diffParts(source)) chunks.push(Buffer.from(bytes))
  return Buffer.concat(chunks)
}

/** Returns a digest, or the error for an object that a tar cannot hold, which random steps may create. */
function tarOrRefusal(source: DiffSource): string {
  try {
    return createHash('sha256').update(tarOf(source)).digest('hex')
  } catch (error) {
    return (error as Error).message
  }
}

function attempt(work: () => unknown): void {
  try {
    work()
  } catch {
    // Most random steps are not possible on the current tree.
  }
}
