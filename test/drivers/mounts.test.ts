/** @module-tag every-identity */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, StoreError, type Store } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings } from '../store/settings.js'
import { enterDirectory } from '../support/ledger.js'
import { mountsBelow, removeTree } from '../support/mounts.js'
import { noMounts, notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { driverOf, layersOf } from '../support/store-parts.js'

const SECRET = 'precious'
const INDEX = pathToFileURL(join(process.cwd(), 'dist/index.js')).href

/** Opens and maps a file of the container, and writes through both after a line on stdin. */
const WRITER = `
import mmap, sys
file = open(sys.argv[1], 'r+b', buffering=0)
memory = mmap.mmap(file.fileno(), 8)
print('ready', flush=True)
sys.stdin.readline()
memory[0:4] = b'late'
memory.flush()
file.seek(4)
file.write(b'late')
`

let scratch: string
let host: string
let store: Store | undefined

beforeEach(() => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'layerstack-mounts-')))
  enterDirectory(scratch)
  host = join(scratch, 'host')
  mkdirSync(host)
  writeFileSync(join(host, 'file'), SECRET)
})

afterEach(async () => {
  await store?.close()
  store = undefined
  await removeTree(scratch)
})

const withHostPath = storeSettings.filter(({ driver, engine }) => driver === 'vfs' || engine === 'kernel')

for (const settings of withHostPath) {
  const options = { ...optionsOf(settings), root: '' }
  const open = async (): Promise<Store> =>
    (store = await openStore({ ...options, root: join(scratch, 'root') }))

  describe(`a container on ${settings.name}`, unless(settings.reason ?? noMounts), () => {
    it('is removed without the content of mounts inside it, which are unmounted', async () => {
      const container = await (await loaded(open)).createContainer('test/app:1')
      await mountInside(await container.mount())
      await container.remove()
      expect(readFileSync(join(host, 'file'), 'utf8')).toBe(SECRET)
      expect(mountsBelow(join(scratch, 'root')).filter((point) => /src|file/.test(point))).toEqual([])
    })

    it('is read without the content of mounts inside it', async () => {
      const container = await (await loaded(open)).createContainer('test/app:1')
      await mountInside(await container.mount())
      const image = await container.commit()
      const tars = [
        container.diff(),
        container.export(),
        layersOf(store as Store).tarStream(image.chainId as never),
      ]
      for (const tar of tars) {
        const bytes = await bytesOf(tar)
        expect(bytes.includes('src/')).toBe(true)
        expect(bytes.includes('bound')).toBe(true)
        expect(bytes.includes(SECRET)).toBe(false)
      }
      expect(await container.size()).toBe('under'.length)
      const paths: string[] = []
      for await (const { path } of container.changes()) paths.push(path)
      expect(paths).toEqual(['/bound', '/src'])
    })

    it('is consumed only if no program can still write to it', unless(notInstalled('python3')), async () => {
      const container = await (await loaded(open)).createContainer('test/app:1')
      const file = join(await container.mount(), 'held')
      writeFileSync(file, 'firstone')
      const writer = spawn('python3', ['-c', WRITER, file], { stdio: ['pipe', 'pipe', 'inherit'] })
      await once(writer.stdout, 'data')
      const consumed = await errorOf(container.commit({ consume: true, reference: 'test/held:1' }))
      await ended(writer)
      if (consumed instanceof Error) {
        expect(consumed).toMatchObject({ code: 'CONTAINER_IN_USE' })
        const again = await (store as Store).openContainer(container.id)
        expect(await again.fs.readFile('/held', 'utf8')).toBe('latelate')
        await again.commit({ consume: true, reference: 'test/held:1' })
      }
      await using shown = await (store as Store).createContainer('test/held:1')
      expect(await shown.fs.readFile('/held', 'utf8')).toBe(
        consumed instanceof Error ? 'latelate' : 'firstone',
      )
      expect((await (store as Store).check()).problems).toEqual([])
    })

    it('leaves no mount after its process is killed and the store is opened again', async () => {
      await (await loaded(open)).close()
      await killedWhileMounted({ ...options, root: join(scratch, 'root') })
      await (await open()).close()
      expect(mountsBelow(join(scratch, 'root'))).toEqual([])
    })

    it('leaves no mount after its process is killed and the store is pruned', async () => {
      const opened = await loaded(open)
      const before = mountsBelow(join(scratch, 'root'))
      await killedWhileMounted({ ...options, root: join(scratch, 'root') })
      await opened.prune()
      expect(mountsBelow(join(scratch, 'root'))).toEqual(before)
    })
  })
}

describe('a file that cannot be removed', unless(noMounts ?? notInstalled('chattr')), () => {
  for (const settings of storeSettings.filter(({ driver }) => driver === 'vfs' || driver === 'overlay2')) {
    it(
      `is reported by check, and does not prevent a store on ${settings.name} from opening`,
      unless(settings.reason),
      async () => {
        const root = join(scratch, 'root')
        const open = async (): Promise<Store> => (store = await openStore({ root, ...optionsOf(settings) }))
        const opened = await loaded(open)
        const container = await opened.createContainer('test/app:1')
        await container.fs.writeFile('/stuck', '')
        const { mountId } = await layersOf(opened).writables.require(container.id)
        const { SourceDir, UpperDir } = await driverOf(opened).metadata(mountId)
        await run('chattr', ['+i', join((SourceDir ?? UpperDir) as string, 'stuck')])
        try {
          await container.remove()
          expect(await opened.containers()).toEqual([])
          await opened.close()
          await open()
          expect((await (store as Store).check()).problems).toMatchObject([{ kind: 'driver-damaged' }])
        } finally {
          // chattr fails on symlinks, after it has changed the other files.
          await run('chattr', ['-R', '-i', root]).catch(() => undefined)
        }
        expect((await (store as Store).check()).problems).toEqual([])
      },
    )
  }
})

async function loaded(open: () => Promise<Store>): Promise<Store> {
  const archive = join(scratch, 'image.tar')
  const layer = await layerTar([
    { name: 'etc/', type: 'directory', mode: 0o755 },
    { name: 'etc/motd', content: 'hello\n' },
  ])
  await writeArchive(archive, imageOf([layer]))
  const opened = await open()
  await opened.load(archive)
  return opened
}

/** Bind-mounts a host directory on `src`, and a file of it on `bound`. */
async function mountInside(tree: string): Promise<void> {
  mkdirSync(join(tree, 'src'))
  writeFileSync(join(tree, 'bound'), 'under')
  await run('mount', ['--bind', host, join(tree, 'src')])
  await run('mount', ['--bind', join(host, 'file'), join(tree, 'bound')])
  expect(existsSync(join(tree, 'src/file'))).toBe(true)
}

async function bytesOf(tar: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of tar) chunks.push(Uint8Array.from(chunk))
  return Buffer.concat(chunks)
}

async function errorOf(work: Promise<unknown>): Promise<StoreError | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    if (error instanceof StoreError) return error
    throw error
  }
}

async function ended(writer: ChildProcess): Promise<void> {
  writer.stdin?.end('now\n')
  const [code] = (await once(writer, 'exit')) as [number]
  expect(code).toBe(0)
}

/** Starts a process that mounts a container, and kills it. */
async function killedWhileMounted(options: object): Promise<void> {
  const script = `
    const { openStore } = await import(${JSON.stringify(INDEX)})
    const store = await openStore(${JSON.stringify(options)})
    await (await store.createContainer('test/app:1')).mount()
    console.log('mounted')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
}
