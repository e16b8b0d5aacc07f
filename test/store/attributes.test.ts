/** @module-tag every-identity */
import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Container, type MountFlag, type Store } from '#layerstack/index.js'
import { ACCESS_ACL, DEFAULT_ACL, giveDefaultAcl, noAcls, SAMPLE_ACL } from '../support/acl.js'
import { noMounts, unless } from '../support/needs.js'
import { imageOf, layerTar, writeArchive } from './archive.js'
import { optionsOf, storeSettings, type DriverSettings } from './settings.js'

const base = await layerTar([
  { name: 'dir/', type: 'directory', mode: 0o755 },
  { name: 'dir/file', content: 'content', mode: 0o600 },
])

let scratch: string
let store: Store | undefined

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-attributes-'))
})

afterEach(async () => {
  await store?.close()
  store = undefined
  // Node's own rm passes whole paths, which may be too long.
  execFileSync('rm', ['-rf', scratch])
})

for (const settings of storeSettings) {
  const options = optionsOf(settings)
  describe(`Container on ${settings.name}`, unless(settings.reason), () => {
    it('keeps an owner that chown passes as -1 and refuses IDs that files cannot have', async () => {
      const { fs } = await newContainer(options)
      await fs.chown('/dir/file', 1000, 1001)
      await fs.chown('/dir/file', -1, 7)
      await fs.lchown('/dir/file', 8, -1)
      expect(await fs.stat('/dir/file')).toMatchObject({ uid: 8, gid: 7 })
      await fs.chown('/dir/file', 4_294_967_294, 4_294_967_294)
      expect(await fs.stat('/dir/file')).toMatchObject({ uid: 4_294_967_294, gid: 4_294_967_294 })
      for (const id of [4_294_967_295, 4_294_967_296, 2 ** 53, -2, 1.5]) {
        await expect(fs.chown('/dir/file', id, 0), String(id)).rejects.toMatchObject({
          code: 'ERR_OUT_OF_RANGE',
        })
        await expect(fs.lchown('/dir/file', 0, id)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' })
      }
      expect(await fs.stat('/dir/file')).toMatchObject({ uid: 4_294_967_294, gid: 4_294_967_294 })
    })

    it('reaches paths of 4,000 bytes', async () => {
      const { fs } = await newContainer(options)
      const deep = `/${'d'.repeat(199)}`.repeat(20)
      await fs.mkdir(deep, { recursive: true })
      await fs.writeFile(`${deep}/file`, 'far')
      await fs.rename(`${deep}/file`, `${deep}/moved`)
      await fs.symlink('moved', `${deep}/link`)
      await fs.lchown(`${deep}/link`, 5, 6)
      expect(await fs.readFile(`${deep}/link`, 'utf8')).toBe('far')
      await fs.rm(`${deep}/moved`)
      expect(await fs.readdir(deep)).toEqual(['link'])
    })

    it('refuses to open devices, FIFOs and sockets through every call', async () => {
      const { fs } = await newContainer(options)
      await fs.mknod('/device', 'char', { major: 1, minor: 5 })
      await fs.mknod('/fifo', 'fifo')
      await fs.mknod('/socket', 'socket')
      for (const name of ['device', 'fifo', 'socket']) {
        await fs.symlink(`/${name}`, `/to-${name}`)
        await fs.link(`/${name}`, `/twin-${name}`)
        for (const path of [`/${name}`, `/to-${name}`, `/twin-${name}`]) {
          for (const flags of ['r', 'r+', 'w', 'w+', 'a', 'a+', 'as']) {
            await expect(fs.open(path, flags), `${path} ${flags}`).rejects.toMatchObject({ code: 'ENXIO' })
          }
          await expect(fs.readFile(path)).rejects.toMatchObject({ code: 'ENXIO' })
          await expect(fs.writeFile(path, 'x')).rejects.toMatchObject({ code: 'ENXIO' })
          await expect(fs.appendFile(path, 'x')).rejects.toMatchObject({ code: 'ENXIO' })
          await expect(fs.copyFile(path, '/copy')).rejects.toMatchObject({ code: 'ENXIO' })
          await expect(fs.copyFile('/dir/file', path)).rejects.toMatchObject({ code: 'ENXIO' })
          await expect(fs.truncate(path, 1)).rejects.toMatchObject({ code: 'EINVAL' })
          await expect(read(fs.createReadStream(path))).rejects.toMatchObject({ code: 'ENXIO' })
        }
      }
      expect(await fs.exists('/copy')).toBe(false)
      expect(await fs.lstat('/device', { bigint: true })).toMatchObject({ rdev: 261n })
    })

    it('refuses device numbers beyond the limits of Linux', async () => {
      const { fs } = await newContainer(options)
      await fs.mknod('/largest', 'block', { major: 4095, minor: 1_048_575 })
      for (const number of [{ major: 4096 }, { major: 1, minor: 1_048_576 }, { major: -1 }]) {
        await expect(fs.mknod('/larger', 'block', number)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' })
      }
    })
  })
}

describe('directories of a root', () => {
  const DIRECTORIES: readonly (readonly [path: string, mode: number])[] = [
    ['', 0o711],
    ['overlay2', 0o710],
    ['overlay2/l', 0o700],
    ['image', 0o700],
    ['image/overlay2/layerdb', 0o700],
    ['image/overlay2/layerdb/mounts', 0o700],
    ['layerstack', 0o710],
    ['layerstack/tmp', 0o700],
  ]

  it.each([0o022, 0o077, 0])('have the same modes as Docker with umask %o', async (umask) => {
    const before = process.umask(umask)
    try {
      await newContainer({ driver: 'overlay2', engine: 'userspace' }, leaking())
    } finally {
      process.umask(before)
    }
    const root = join(scratch, 'leaking', 'root')
    for (const [path, mode] of DIRECTORIES) {
      expect((lstatSync(join(root, path)).mode & 0o7777).toString(8), path).toBe(mode.toString(8))
    }
    const layers = readdirSync(join(root, 'overlay2')).filter((name) => name.length === 64)
    expect(layers.length).toBeGreaterThan(1)
    for (const layer of layers) {
      expect(lstatSync(join(root, 'overlay2', layer)).mode & 0o7777).toBe(0o710)
      expect(lstatSync(join(root, 'overlay2', layer, 'diff')).mode & 0o7777).toBe(0o755)
    }
  })

  it('get the right mode after a crash between mkdir and chmod', async () => {
    const umask = process.umask(0o077)
    mkdirSync(join(scratch, 'leaking', 'root', 'overlay2'), { recursive: true })
    process.umask(umask)
    await newContainer({ driver: 'overlay2', engine: 'userspace' }, join(scratch, 'leaking'))
    expect(lstatSync(join(scratch, 'leaking', 'root', 'overlay2')).mode & 0o7777).toBe(0o710)
  })
})

describe('a default ACL', unless(noAcls, notRoot()), () => {
  for (const settings of storeSettings.filter(({ driver }) => driver === 'vfs' || driver === 'overlay2')) {
    it(
      `applies to new files if a directory of the image has it, not if the parent of the root has it, on ${settings.name}`,
      unless(settings.reason),
      async () => {
        const { fs } = await newContainer(optionsOf(settings), leaking())
        await fs.writeFile('/plain', '')
        expect(await fs.listxattr('/plain')).toEqual([])
        await fs.setxattr('/dir', DEFAULT_ACL, SAMPLE_ACL)
        await fs.writeFile('/dir/new', '', { mode: 0o666 })
        await fs.mkdir('/dir/below')
        expect(await fs.getxattr('/dir/new', ACCESS_ACL)).toBeDefined()
        expect((await fs.stat('/dir/new')).mode & 0o7777).toBe(0o660)
        expect(await fs.getxattr('/dir/below', DEFAULT_ACL)).toEqual(SAMPLE_ACL)
        expect((await fs.stat('/dir/below')).mode & 0o7777).toBe(0o750)
      },
    )

    it(
      `of a directory in a lower layer does not apply to files that a tar adds on ${settings.name}`,
      unless(settings.reason),
      async () => {
        const container = await newContainer(optionsOf(settings))
        await container.fs.setxattr('/dir', DEFAULT_ACL, SAMPLE_ACL)
        await container.commit({ reference: 'test/acl:1' })
        const above = await (store as Store).createContainer('test/acl:1')
        await above.fs.writeFile('/dir/bare', '', { mode: 0o640 })
        await above.fs.removexattr('/dir/bare', ACCESS_ACL)
        await above.fs.chmod('/dir/bare', 0o644)
        const tree = async ({ fs }: Container) => [
          await fs.listxattr('/dir/bare'),
          (await fs.stat('/dir/bare')).mode & 0o7777,
        ]
        const meant = await tree(above)
        await above.commit({ reference: 'test/acl:2' })
        expect(await tree(await (store as Store).createContainer('test/acl:2'))).toEqual(meant)
      },
    )
  }
})

describe('mount of a layer', unless(noMounts), () => {
  for (const settings of storeSettings.filter(({ engine }) => engine === 'kernel')) {
    const mountOptions = async (mountFlags?: readonly MountFlag[]): Promise<string[]> => {
      const { driverOptions = {}, ...rest } = optionsOf(settings)
      const container = await newContainer({
        ...rest,
        driverOptions: { ...driverOptions, ...(mountFlags && { mountFlags }) },
      } as DriverSettings)
      await container.fs.mknod('/null', 'char', { major: 1, minor: 3 })
      expect((await container.fs.lstat('/null')).rdev).toBe(259)
      await container.commit()
      return optionsOfMount(await container.mount())
    }

    it(`is nodev on ${settings.name} unless \`mountFlags\` is empty`, unless(settings.reason), async () => {
      expect(await mountOptions()).toEqual(['nodev'])
      await store?.close()
      rmSync(scratch, { recursive: true, force: true })
      mkdirSync(scratch)
      expect(await mountOptions([])).toEqual([])
    })

    it(
      `is nosuid and noexec on ${settings.name} if \`mountFlags\` says so`,
      unless(settings.reason),
      async () => {
        expect(await mountOptions(['nosuid', 'noexec'])).toEqual(['nosuid', 'noexec'])
      },
    )
  }

  it('refuses unknown flags', async () => {
    await expect(
      newContainer({ driver: 'overlay2', driverOptions: { mountFlags: ['nodevs' as MountFlag] } }),
    ).rejects.toThrow(/mountFlags must be a list of 'nodev'/)
  })

  it('keeps attributes in a file on a filesystem without xattrs', async () => {
    const directory = join(scratch, 'ramfs')
    mkdirSync(directory)
    execFileSync('mount', ['-t', 'ramfs', 'ramfs', directory])
    try {
      const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex')
      const { fs } = await newContainer({ driver: 'vfs' }, directory)
      expect(store?.driver.capabilities.nativeAttributes).toBe(false)
      await fs.setxattr('/dir/file', 'security.capability', capability)
      expect(await fs.getxattr('/dir/file', 'security.capability')).toEqual(capability)
      await store?.close()
      const native = openStore({
        root: join(directory, 'other'),
        driver: 'vfs',
        driverOptions: { attributes: 'native' },
      })
      await expect(native).rejects.toMatchObject({ code: 'ENGINE_UNSUPPORTED' })
    } finally {
      execFileSync('umount', ['-l', directory])
    }
  })

  it('reports a filesystem that keeps whole seconds in the status', async () => {
    const [image, directory] = [join(scratch, 'ext4.img'), join(scratch, 'ext4')]
    mkdirSync(directory)
    execFileSync('truncate', ['-s', '64M', image])
    execFileSync('mkfs.ext4', ['-q', '-I', '128', image])
    execFileSync('mount', ['-o', 'loop', image, directory])
    try {
      await newContainer({ driver: 'vfs' }, directory)
      expect(await store?.status()).toContainEqual(['Timestamps', 'precise to 1 s, until 2038-01-19'])
      await store?.close()
    } finally {
      execFileSync('umount', ['-l', directory])
    }
  })
})

async function newContainer(
  options: ReturnType<typeof optionsOf>,
  parent: string = scratch,
): Promise<Container> {
  const archive = join(scratch, 'image.tar')
  await writeArchive(archive, imageOf([base]))
  store = await openStore({ root: join(parent, 'root'), ...options })
  await store.load(archive)
  return store.createContainer('test/app:1')
}

/** A directory with the set-group-ID bit and, if this process may set it, a default ACL. New files inherit both. */
function leaking(): string {
  const directory = join(scratch, 'leaking')
  mkdirSync(directory)
  execFileSync('chmod', ['2777', directory])
  if (noAcls === undefined) giveDefaultAcl(directory)
  return directory
}

/** Only the options that `mountFlags` can set. */
function optionsOfMount(path: string): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').trimEnd().split('\n')
  const lines = mounts.map((line) => line.split(' '))
  const line = lines.findLast(([, , , , point = '']) => path === point || path.startsWith(`${point}/`))
  return (line?.[5] ?? '').split(',').filter((option) => ['nodev', 'nosuid', 'noexec'].includes(option))
}

function notRoot(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'only root can store ACLs in the inodes'
}

async function read(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}
