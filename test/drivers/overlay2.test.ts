/** @module-tag every-identity */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Driver } from '#layerstack/drivers/driver.js'
import { treeOf } from '#layerstack/conformance/tree.js'
import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
import type { LayerFs } from '#layerstack/fs/facade/layer-fs.js'
import { temporaryName } from '#layerstack/sys/temporary-name.js'
import { loopTurns } from '../support/loop-turns.js'
import { mountsBelow, removeTree } from '../support/mounts.js'
import { findProgram } from '../support/program.js'
import { noCalls, noMounts, notInstalled, unless } from '../support/needs.js'
import { KERNEL, opener, USERSPACE } from './openers.js'

const setpriv = findProgram('setpriv') ?? ''
/** Removed after each test. Contains `root`, or is the same directory. */
let scratch: string
let root: string
let home: string
const opened: Driver[] = []
beforeEach(() => {
  scratch = root = mkdtempSync(join(tmpdir(), 'layerstack-overlay2-'))
  home = join(root, 'overlay2')
})
afterEach(async () => {
  for (const driver of opened.splice(0)) await driver.cleanup()
  await removeTree(scratch)
})

async function openWith(open: (root: string) => Promise<Driver>): Promise<Driver> {
  const driver = await open(root)
  opened.push(driver)
  return driver
}

async function inView<T>(driver: Driver, id: string, work: (fs: LayerFs) => Promise<T>): Promise<T> {
  const view = await driver.get(id)
  try {
    return await work(view.fs)
  } finally {
    await driver.put(id)
  }
}

async function threeLayers(driver: Driver): Promise<void> {
  await driver.create('base')
  await inView(driver, 'base', async (fs) => {
    await fs.mkdir('/dir', { mode: 0o755 })
    await fs.writeFile('/dir/file', 'of base')
    await fs.writeFile('/dir/other', 'of base')
  })
  await driver.create('middle', 'base')
  await inView(driver, 'middle', async (fs) => {
    await fs.unlink('/dir/other')
    await fs.writeFile('/middle', 'of middle')
  })
  await driver.createReadWrite('top', 'middle')
}

const modeOf = (...path: string[]): string => (statSync(join(home, ...path)).mode & 0o7777).toString(8)
const textOf = (...path: string[]): string => readFileSync(join(home, ...path), 'utf8')
/** Ignores `.attributes` files, which an ordinary user's layers have if xattrs are not available. */
const filesOf = (id: string): string[] =>
  readdirSync(join(home, id))
    .filter((name) => noCalls === undefined || !name.endsWith('.attributes'))
    .toSorted()

describe('the probe mount of a running process', unless(noMounts), () => {
  it('survives tidy', async () => {
    const driver = await openWith(KERNEL)
    const probe = join(home, temporaryName('probe'))
    const [lower, merged] = [join(probe, 'lower'), join(probe, 'merged')]
    for (const directory of [probe, lower, join(probe, 'upper'), join(probe, 'work'), merged])
      mkdirSync(directory)
    writeFileSync(join(lower, 'removed'), '')
    const layers = `lowerdir=${lower},upperdir=${join(probe, 'upper')},workdir=${join(probe, 'work')}`
    execFileSync('mount', ['-t', 'overlay', '-o', layers, 'overlay', merged])
    await driver.tidy?.()
    unlinkSync(join(merged, 'removed'))
    expect(readdirSync(merged)).toEqual([])
  })
})

describe('overlay2 on the userspace engine', () => {
  it('uses the directory layout of Docker', async () => {
    await threeLayers(await openWith(USERSPACE))
    expect(modeOf()).toBe('710')
    expect(modeOf('l')).toBe('700')
    expect([modeOf('base'), modeOf('base/diff')]).toEqual(['710', '755'])
    expect(filesOf('base')).toEqual(['committed', 'diff', 'link'])
    expect(filesOf('top')).toEqual(['diff', 'link', 'lower', 'work'])
    expect(modeOf('top/work')).toBe('700')
    const [base, middle, top] = ['base', 'middle', 'top'].map((id) => textOf(id, 'link'))
    expect(top).toMatch(/^[A-Z2-7]{26}$/)
    expect(readlinkSync(join(home, 'l', top ?? ''))).toBe('../top/diff')
    expect(textOf('middle/lower')).toBe(`l/${base}`)
    expect(textOf('top/lower')).toBe(`l/${middle}:l/${base}`)
    expect([statSync(join(home, 'middle/committed')).size, modeOf('middle/committed')]).toEqual([0, '600'])
    expect(readdirSync(join(home, 'l'))).toHaveLength(3)
  })

  it('removes all directories of its layers', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    for (const id of ['top', 'middle', 'base']) await driver.remove(id)
    expect(readdirSync(home)).toEqual(['l'])
    expect(readdirSync(join(home, 'l'))).toEqual([])
  })

  it('reports the directories of a layer in its metadata', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    expect(await driver.metadata('top')).toEqual({
      LowerDir: `${home}/middle/diff:${home}/base/diff`,
      MergedDir: `${home}/top/merged`,
      UpperDir: `${home}/top/diff`,
      WorkDir: `${home}/top/work`,
    })
    expect(await driver.metadata('base')).not.toHaveProperty('LowerDir')
  })

  it('reports rows of docker info, and its engine, in the status', async () => {
    const status = Object.fromEntries(await (await openWith(USERSPACE)).status())
    expect(status).toMatchObject({
      'Backing Filesystem': expect.any(String),
      'Supports d_type': String(noCalls === undefined),
      'Using metacopy': 'false',
      'Native Overlay Diff': 'true',
      Engine: 'userspace',
    })
    expect(Object.keys(status)).toContain('userxattr')
  })
})

describe('a layer with children', () => {
  it('is read-only', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    for (const id of ['base', 'middle']) {
      await expect(inView(driver, id, (fs) => fs.writeFile('/x', 'x'))).rejects.toMatchObject({
        code: 'EROFS',
      })
    }
  })
})

describe('overlay2 after a crash', () => {
  it('ignores a layer without a link, which create replaces and remove clears', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    mkdirSync(join(home, 'half/diff/some'), { recursive: true })
    mkdirSync(join(home, 'half/work'))
    expect(await driver.exists('half')).toBe(false)
    expect(await driver.list()).not.toContain('half')
    await driver.create('half', 'middle')
    expect(await inView(driver, 'half', (fs) => fs.readdir('/'))).toEqual(
      expect.arrayContaining(['dir', 'middle']),
    )
    await driver.remove('half')
    mkdirSync(join(home, 'half/diff'), { recursive: true })
    await driver.remove('half')
    expect(existsSync(join(home, 'half'))).toBe(false)
  })

  it('restores an empty link from the symlink (moby#35747)', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    const link = textOf('middle/link')
    writeFileSync(join(home, 'middle/link'), '')
    await driver.create('another', 'middle')
    expect(textOf('middle/link')).toBe(link)
    expect(await inView(driver, 'another', (fs) => fs.readFile('/middle', 'utf8'))).toBe('of middle')
  })

  it('reports an empty lower file instead of treating the layer as a base layer', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    writeFileSync(join(home, 'top/lower'), '')
    await expect(driver.get('top')).rejects.toMatchObject({
      code: 'STORE_CORRUPT',
      path: join(home, 'top/lower'),
    })
    await driver.remove('top')
  })

  it('repairs a symlink that is missing, or that an interrupted adoption redirected', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    const link = join(home, 'l', textOf('base/link'))
    unlinkSync(link)
    expect(await inView(driver, 'top', (fs) => fs.readFile('/dir/file', 'utf8'))).toBe('of base')
    expect(readlinkSync(link)).toBe('../base/diff')
    unlinkSync(link)
    symlinkSync('../adopted/diff', link)
    expect(await inView(driver, 'top', (fs) => fs.readFile('/dir/file', 'utf8'))).toBe('of base')
    expect(readlinkSync(link)).toBe('../base/diff')
  })

  it('reports a missing lower layer', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    renameSync(join(home, 'base'), join(root, 'elsewhere'))
    await expect(driver.get('top')).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })

  it('finishes an interrupted removal at the next open', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    renameSync(join(home, 'top'), join(home, 'top-removing'))
    expect((await driver.list()).toSorted()).toEqual(['base', 'middle'])
    await openWith(USERSPACE)
    expect(existsSync(join(home, 'top-removing'))).toBe(false)
  })

  it('drops the hold of a killed process', async () => {
    const driver = await openWith(USERSPACE)
    await threeLayers(driver)
    const holder = await hold('userspace')
    await expect(driver.get('top')).rejects.toMatchObject({ code: 'LAYER_IN_USE' })
    await expect(driver.remove('top')).rejects.toMatchObject({ code: 'LAYER_IN_USE' })
    await holder.kill()
    await inView(driver, 'top', (fs) => fs.writeFile('/x', 'x'))
    await driver.remove('top')
  })
})

describe('a root with attributes: override', () => {
  it('opens on the userspace engine only', unless(noCalls), async () => {
    await threeLayers(
      await openWith(opener(overlay2, { engine: 'auto', driverOptions: { attributes: 'override' } })),
    )
    await expect(KERNEL(root)).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      message: expect.stringMatching(/override/),
    })
    const driver = await openWith(opener(overlay2, { engine: 'auto' }))
    expect(driver.engine).toBe('userspace')
    expect(driver.capabilities).toMatchObject({ nativeAttributes: false, hostPath: false })
    const native = opener(overlay2, { engine: 'auto', driverOptions: { attributes: 'native' } })
    await expect(native(root)).rejects.toMatchObject({ code: 'ENGINE_UNSUPPORTED' })
  })
})

describe('a root without the files of layerstack', () => {
  it('opens only if its attributes and marks are stored as Docker stores them', async () => {
    await threeLayers(await openWith(USERSPACE))
    const { attributes, overlayXattrs } = JSON.parse(
      readFileSync(join(root, 'layerstack/overlay2.json'), 'utf8'),
    ) as Record<string, string>
    rmSync(join(root, 'layerstack'), { recursive: true })
    const asDocker = attributes === 'native' && overlayXattrs === 'trusted'
    if (asDocker)
      expect((await (await openWith(USERSPACE)).list()).toSorted()).toEqual(['base', 'middle', 'top'])
    else await expect(USERSPACE(root)).rejects.toMatchObject({ code: 'ENGINE_UNSUPPORTED' })
  })
})

describe('a root opened read-only', () => {
  it('shows its layers, refuses changes, and stays unchanged on disk', async () => {
    await threeLayers(await openWith(USERSPACE))
    const before = execFileSync('find', [root, '-printf', '%p %m %T@\n'], { encoding: 'utf8' })
    const driver = await overlay2.open({ root, engine: 'auto', readOnly: true })
    await expect(inView(driver, 'top', (fs) => fs.writeFile('/x', 'x'))).rejects.toMatchObject({
      code: 'EROFS',
    })
    expect(await inView(driver, 'top', (fs) => fs.readFile('/dir/file', 'utf8'))).toBe('of base')
    await expect(driver.create('x')).rejects.toMatchObject({ code: 'STORE_READ_ONLY' })
    await expect(driver.remove('top')).rejects.toMatchObject({ code: 'STORE_READ_ONLY' })
    await expect(driver.adopt?.('top', 'x')).rejects.toMatchObject({ code: 'STORE_READ_ONLY' })
    expect(execFileSync('find', [root, '-printf', '%p %m %T@\n'], { encoding: 'utf8' })).toBe(before)
  })
})

describe('overlay2 on the kernel engine', unless(noMounts), () => {
  it('does not block the event loop to unmount, even with much unwritten data', async () => {
    const driver = await openWith(KERNEL)
    await driver.create('base')
    await driver.createReadWrite('top', 'base')
    const turnsOfOne = async () => {
      const { hostPath = '' } = await driver.get('top')
      writeFileSync(join(hostPath, 'large'), Buffer.alloc(64 << 20, 1))
      return loopTurns(driver.put('top'))
    }
    // Retries: if another process syncs the file system, the unmount has nothing to wait for.
    await expect.poll(turnsOfOne, { timeout: 60_000 }).toBeGreaterThan(3)
  })

  it('takes turns with the userspace engine in one root', async () => {
    const userspace = await openWith(USERSPACE)
    await threeLayers(userspace)
    const kernel = await openWith(KERNEL)
    expect(kernel.engine).toBe('kernel')
    await inView(kernel, 'top', async (fs) => {
      await fs.rm('/dir', { recursive: true })
      await fs.mkdir('/dir', { mode: 0o750 })
      await fs.writeFile('/dir/new', 'by the kernel')
      await fs.unlink('/middle')
    })
    await inView(userspace, 'top', async (fs) => {
      expect(await fs.readdir('/dir')).toEqual(['new'])
      expect(await fs.exists('/middle')).toBe(false)
      await fs.writeFile('/middle', 'in userspace')
      await fs.unlink('/dir/new')
      await fs.mkdir('/dir/sub')
    })
    const seen = await inView(userspace, 'top', async (fs) => treeOf(fs.syncFs))
    expect(await inView(kernel, 'top', async (fs) => treeOf(fs.syncFs))).toEqual(seen)
    await kernel.create('child', 'top')
    expect(await inView(kernel, 'child', async (fs) => treeOf(fs.syncFs))).toEqual(seen)
  })

  it('mounts a layer while a view is open, without redirect_dir, metacopy or index', async () => {
    const driver = await openWith(KERNEL)
    await threeLayers(driver)
    const { hostPath } = await driver.get('top')
    expect(hostPath).toBe(join(home, 'top/merged'))
    expect(mountsBelow(root)).toEqual([hostPath])
    const line = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find((text) => text.includes(` ${hostPath} `))
    for (const option of ['redirect_dir=on', 'metacopy=on', 'index=on']) expect(line).not.toContain(option)
    await driver.put('top')
    expect(mountsBelow(root)).toEqual([])
    expect(existsSync(join(home, 'top/merged'))).toBe(false)
  })

  it('stores owners and devices in the inodes of the upper directory', async () => {
    const driver = await openWith(KERNEL)
    await threeLayers(driver)
    await inView(driver, 'top', async (fs) => {
      await fs.writeFile('/owned', '')
      await fs.chown('/owned', 12, 34)
      await fs.mknod('/null', 'char', { mode: 0o666, major: 1, minor: 3 })
    })
    expect(statSync(join(home, 'top/diff/owned'))).toMatchObject({ uid: 12, gid: 34 })
    expect(statSync(join(home, 'top/diff/null')).isCharacterDevice()).toBe(true)
  })

  it('shares a mount between processes, and the last one unmounts it', async () => {
    const driver = await openWith(KERNEL)
    await threeLayers(driver)
    const holder = await hold('kernel')
    const { fs } = await driver.get('top')
    expect(mountsBelow(root)).toHaveLength(1)
    await driver.put('top')
    expect(mountsBelow(root)).toHaveLength(1)
    await driver.get('top')
    await holder.end()
    expect(mountsBelow(root)).toHaveLength(1)
    await fs.writeFile('/x', 'x')
    await driver.put('top')
    expect(mountsBelow(root)).toEqual([])
  })

  it('replaces the mount of a killed process, or removes it with the layer', async () => {
    const driver = await openWith(KERNEL)
    await threeLayers(driver)
    await (await hold('kernel')).kill()
    expect(mountsBelow(root)).toHaveLength(1)
    await inView(driver, 'top', (fs) => fs.writeFile('/x', 'x'))
    expect(mountsBelow(root)).toEqual([])
    await (await hold('kernel')).kill()
    await driver.remove('top')
    expect(mountsBelow(root)).toEqual([])
    expect(existsSync(join(home, 'top'))).toBe(false)
  })

  it('opens a layer again after a volatile mount, even after that of a killed process', async () => {
    const driver = await openWith(KERNEL)
    await threeLayers(driver)
    const { fs } = await driver.get('top', { volatile: true })
    await fs.writeFile('/x', 'x')
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toMatch(/top\/merged .*volatile/)
    await driver.put('top')
    expect(await inView(driver, 'top', (view) => view.readFile('/x', 'utf8'))).toBe('x')
    await (await hold('kernel', true)).kill()
    expect(await inView(driver, 'top', (view) => view.readFile('/x', 'utf8'))).toBe('x')
  })

  it('finds the mount of a killed process if the root path contains a symlink', async () => {
    mkdirSync(join(scratch, 'real'))
    symlinkSync('real', join(scratch, 'link'))
    root = join(scratch, 'link')
    const driver = await openWith(KERNEL)
    await threeLayers(driver)
    await (await hold('kernel')).kill()
    expect(mountsBelow(realpathSync(root))).toHaveLength(1)
    await driver.remove('top')
    expect(mountsBelow(realpathSync(root))).toEqual([])
  })

  it(
    'opens a root made without CAP_SYS_ADMIN, which has its marks in user xattrs',
    unless(notInstalled('setpriv')),
    async () => {
      const script = `
      import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
      const driver = await overlay2.open({ root: ${JSON.stringify(root)}, engine: 'auto', readOnly: false })
      const write = async (id, work) => { await work((await driver.get(id)).fs); await driver.put(id) }
      await driver.create('base')
      await write('base', async (fs) => { await fs.mkdir('/dir'); await fs.writeFile('/dir/hidden', '') })
      await driver.create('middle', 'base')
      await write('middle', async (fs) => { await fs.rm('/dir', { recursive: true }); await fs.mkdir('/dir') })
      await driver.createReadWrite('top', 'middle')
      console.log(driver.engine)`
      const noAdmin = ['--bounding-set=-sys_admin', '--inh-caps=-sys_admin']
      const node = [process.execPath, '--input-type=module', '-e', script]
      expect(execFileSync(setpriv, [...noAdmin, ...node], { encoding: 'utf8' })).toBe('userspace\n')
      const driver = await openWith(KERNEL)
      expect(Object.fromEntries(await driver.status())).toMatchObject({ userxattr: 'true', Engine: 'kernel' })
      await inView(driver, 'top', async (fs) => {
        expect(await fs.readdir('/dir')).toEqual([])
        await fs.rm('/dir', { recursive: true })
        await fs.mkdir('/dir')
      })
      const userspace = await openWith(USERSPACE)
      await userspace.create('child', 'top')
      expect(await inView(userspace, 'child', (fs) => fs.readdir('/dir'))).toEqual([])
    },
  )

  it(
    'makes a root with trusted xattrs, which a process without CAP_SYS_ADMIN cannot open',
    unless(notInstalled('setpriv')),
    async () => {
      await threeLayers(await openWith(KERNEL))
      const script = `
      import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
      await overlay2.open({ root: ${JSON.stringify(root)}, engine: 'auto', readOnly: false }).catch((error) => console.log(error.code))`
      const noAdmin = ['--bounding-set=-sys_admin', '--inh-caps=-sys_admin']
      const node = [process.execPath, '--input-type=module', '-e', script]
      expect(execFileSync(setpriv, [...noAdmin, ...node], { encoding: 'utf8' })).toBe('ENGINE_UNSUPPORTED\n')
    },
  )

  it('mounts layers of a root with special characters in its path', async () => {
    root = join(root, 'a:b, c\\d é')
    home = join(root, 'overlay2')
    mkdirSync(root)
    const driver = await openWith(KERNEL)
    await threeLayers(driver)
    await inView(driver, 'top', async (fs) => {
      expect(await fs.readFile('/dir/file', 'utf8')).toBe('of base')
      await fs.writeFile('/dir/file', 'changed')
    })
    expect(textOf('top/diff/dir/file')).toBe('changed')
  })
})

interface Holder {
  kill(): Promise<void>
  /** Makes the process put its view and exit. */
  end(): Promise<void>
}

/** Starts another process that opens a view of `top`. */
async function hold(engine: 'kernel' | 'userspace', volatile = false): Promise<Holder> {
  const script = `
    import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
    const driver = await overlay2.open({ root: ${JSON.stringify(root)}, engine: '${engine}', readOnly: false })
    await driver.get('top', { volatile: ${volatile} })
    process.stdin.once('data', async () => { await driver.put('top'); process.exit(0) })
    console.log('holding')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  const exited = once(child, 'exit')
  return {
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    async end() {
      child.stdin.write('end\n')
      await exited
    },
  }
}
