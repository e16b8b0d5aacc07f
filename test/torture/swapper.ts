import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { openStore, type Container, type Store } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings, type StoreSettings } from '../store/settings.js'
import { driverOf, layersOf } from '../support/store-parts.js'
import type { Attack, AttackReport, Budget } from './attack.js'

const PAIRS = 6
const FILES = 12
const SECRET = 'the secret of the host'
/** Larger than the whole content of the container. */
const LARGE = 1 << 20

/** `npm test` and `npm run torture` run in the project's directory. */
const SCRIPT = join(process.cwd(), 'test/torture/swapping.mjs')
const RENAME_MODULE = pathToFileURL(join(process.cwd(), 'dist/sys/rename.js')).href

/** The drivers whose containers have a path on the host. */
const withHostPath = storeSettings.filter(
  ({ driver, engine }) => driver === 'vfs' || (engine === 'kernel' && driver !== 'devicemapper'),
)

export const swappers: readonly Attack[] = withHostPath.map((settings) => ({
  name: `swap directories for symlinks in a container on ${settings.name}`,
  reason: settings.reason ?? (process.getuid?.() === 0 ? undefined : 'an ordinary user has no host paths'),
  run: (budget) => attack(settings, budget),
}))

/** A host directory with the same names as those in the container, which has a symlink to it beside each directory. */
class Canary {
  readonly path: string
  readonly #before: string

  constructor(scratch: string) {
    this.path = join(scratch, 'host')
    mkdirSync(join(this.path, 'deeper'), { recursive: true })
    for (let n = 0; n < FILES; n++) writeFileSync(join(this.path, `f${n}`), `${SECRET} ${n}`)
    writeFileSync(join(this.path, 'deeper', 'canary-only'), SECRET)
    writeFileSync(join(this.path, 'canary-only'), Buffer.alloc(LARGE, SECRET))
    this.#before = this.#outline()
  }

  plant(tree: string): void {
    for (let n = 0; n < PAIRS; n++) {
      mkdirSync(join(tree, `d${n}`, 'deeper'), { recursive: true })
      for (let file = 0; file < FILES; file++) writeFileSync(join(tree, `d${n}`, `f${file}`), 'its own')
      writeFileSync(join(tree, `d${n}`, 'deeper', 'f'), 'its own')
      symlinkSync(this.path, join(tree, `s${n}`))
    }
  }

  isUntouched(): boolean {
    return this.#before === this.#outline()
  }

  #outline(): string {
    const names = readdirSync(this.path, { recursive: true, encoding: 'utf8' }).toSorted()
    const lines = names.map((name) => {
      const { mode, uid, size, mtimeMs, ctimeMs } = lstatSync(join(this.path, name))
      return [name, mode, uid, size, mtimeMs, ctimeMs].join(' ')
    })
    return [...lines, readFileSync(join(this.path, 'f0'), 'utf8')].join('\n')
  }
}

async function attack(settings: StoreSettings, { scratch, hasTime }: Budget): Promise<AttackReport> {
  const canary = new Canary(scratch)
  const store = await openStore({ root: join(scratch, 'root'), ...optionsOf(settings) })
  const figures: Record<string, number> = {}
  const violations: string[] = []
  try {
    await load(store, scratch)
    do {
      const container = await store.createContainer('test/app:1')
      const tree = await container.mount()
      canary.plant(tree)
      const swapper = await startSwapping(tree)
      try {
        for (const operation of operations) {
          const leak = await outcome(figures, operation, store, container)
          if (leak !== undefined) violations.push(`${operation.name}: ${leak}`)
          if (!canary.isUntouched()) violations.push(`${operation.name}: the host's directory was changed`)
        }
      } finally {
        swapper.kill('SIGKILL')
        await once(swapper, 'exit')
      }
      await container.remove().catch(() => undefined)
    } while (hasTime() && violations.length === 0)
  } finally {
    await store.close()
  }
  return { figures, violations }
}

async function startSwapping(tree: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [SCRIPT, tree, String(PAIRS), RENAME_MODULE], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return child
}

interface Operation {
  readonly name: string
  /** @returns a description of leaked data */
  run(store: Store, container: Container): Promise<string | undefined>
}

/** Runs an operation `TURNS` times. Failures caused by swaps do not count as leaks. */
async function outcome(
  figures: Record<string, number>,
  operation: Operation,
  store: Store,
  container: Container,
): Promise<string | undefined> {
  for (let turn = 0; turn < TURNS; turn++) {
    try {
      const leak = await operation.run(store, container)
      figures[operation.name] = (figures[operation.name] ?? 0) + 1
      if (leak !== undefined) return leak
    } catch {
      figures['failed by a swap'] = (figures['failed by a swap'] ?? 0) + 1
    }
  }
  return undefined
}

const TURNS = 4

const operations: readonly Operation[] = [
  { name: 'diff', run: async (_, container) => leakOf(container.diff()) },
  { name: 'export', run: async (_, container) => leakOf(container.export()) },
  {
    name: 'commit',
    run: async (store, container) => {
      const image = await container.commit()
      try {
        return image.chainId && (await leakOf(layersOf(store).tarStream(image.chainId)))
      } finally {
        await store.remove(image.id)
      }
    },
  },
  {
    name: 'size',
    run: async (_, container) => {
      const size = await container.size()
      return size < LARGE ? undefined : `${size} bytes`
    },
  },
  {
    name: 'changes',
    run: async (_, container) => {
      for await (const { path } of container.changes()) if (path.includes('canary')) return path
      return undefined
    },
  },
  {
    name: 'copy',
    run: async (store, container) => {
      const driver = driverOf(store)
      // A child of an overlay2 layer would make the layer read-only.
      if (driver.capabilities.cheapSnapshots && driver.name === 'overlay2') return undefined
      const { mountId } = await layersOf(store).writables.require(container.id)
      const copy = 'c'.repeat(64)
      try {
        await driver.createReadWrite(copy, mountId)
        return await leakOf(driver.diff(copy))
      } finally {
        await driver.remove(copy)
      }
    },
  },
  {
    name: 'read',
    run: async (_, { fs }) => {
      for (let n = 0; n < PAIRS; n++) {
        const text = await fs.readFile(`/d${n}/f0`, 'utf8').catch(() => '')
        if (text.includes(SECRET)) return `/d${n}/f0`
      }
      return undefined
    },
  },
  {
    name: 'rm -r',
    run: async (_, { fs }) => {
      await fs.rm('/d0', { recursive: true, force: true })
      return undefined
    },
  },
  {
    name: 'remove',
    run: async (_, container) => {
      await container.remove()
      return undefined
    },
  },
]

async function leakOf(tar: AsyncIterable<Uint8Array>): Promise<string | undefined> {
  const chunks: Uint8Array[] = []
  for await (const chunk of tar) chunks.push(Uint8Array.from(chunk))
  return Buffer.concat(chunks).includes(SECRET) ? 'its tar contains the secret of the host' : undefined
}

async function load(store: Store, scratch: string): Promise<void> {
  const base = await layerTar([
    { name: 'etc/', type: 'directory', mode: 0o755 },
    { name: 'etc/motd', content: 'hello\n' },
  ])
  const archive = join(scratch, 'image.tar')
  await writeArchive(archive, imageOf([base]))
  await store.load(archive)
}
