import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { file, gnuLong, pax, symlink, tar } from '#layerstack/conformance/odd-layers/raw-tar.js'
import { refusedLayers, oddLayers } from '#layerstack/conformance/index.js'
import { openStore, type Store } from '#layerstack/index.js'
import { dockerArchive } from '../hostile/archives.js'
import type { Attack, AttackReport, Budget } from './attack.js'
import { randomOf } from './random.js'

const MAX_SECONDS = 2
const RESOLUTION = 2 ** 31
const CORPUS = [
  new URL('./corpus/', import.meta.url),
  // From the compiled copy in test/torture/dist/torture.
  new URL('../../corpus/', import.meta.url),
].find((url) => existsSync(url)) as URL

/**
 * Mutates archives, references and the files of a root. Each mutant must end in a result or a StoreError within
 * `MAX_SECONDS` and leave global prototypes unchanged. A failed load must leave nothing in the root.
 */
export const formatsAttack: Attack = {
  name: 'mutants of archives, references and files of a root end in a result or a typed error',
  run: attack,
}

async function attack({ seed, scratch, hasTime }: Budget): Promise<AttackReport> {
  const choices = randomOf(seed)
  const random = () => choices.below(RESOLUTION) / RESOLUTION
  const figures = { archives: 0, references: 0, 'files of roots': 0 }
  const violations: string[] = []
  const globals = prototypes()
  const root = mkdtempSync(join(scratch, 'formats-'))
  const store = await openStore({ root, driver: 'vfs' })
  try {
    const archives = corpusOfArchives()
    for (let round = 0; round === 0 || hasTime(); round++) {
      for (let step = 0; step < 5; step++) {
        figures.archives++
        const bytes = mutated(pick(archives, random), pick(archives, random), random)
        const complaint = await loadMutant(store, root, bytes)
        if (complaint !== undefined) violations.push(`${complaint}: ${kept(bytes)}`)
      }
      for (const text of texts(random)) {
        figures.references++
        const complaint = await outcome(() => store.image(text))
        if (complaint !== undefined) violations.push(`image(${JSON.stringify(text)}): ${complaint}`)
      }
      figures['files of roots']++
      const complaint = await mutateRoot(join(scratch, 'files'), random)
      if (complaint !== undefined) violations.push(complaint)
      if (prototypes() !== globals) violations.push('a global prototype was changed')
    }
  } finally {
    await store.close()
    rmSync(root, { recursive: true, force: true })
  }
  return { figures, violations }
}

async function loadMutant(store: Store, root: string, bytes: Buffer): Promise<string | undefined> {
  const path = join(root, '..', 'mutant.tar')
  writeFileSync(path, bytes)
  const complaint = await outcome(() => store.load(path))
  for (const { id } of await store.images()) await store.remove(id, { force: true })
  const left = [
    ...readdirSync(join(root, 'vfs', 'dir')),
    ...readdirSync(join(root, 'image', 'vfs', 'layerdb', 'sha256')),
    ...readdirSync(join(root, 'image', 'vfs', 'layerdb', 'tmp')),
    ...readdirSync(join(root, 'layerstack', 'tmp')),
  ]
  return complaint ?? (left.length > 0 ? `left ${left.join(', ')}` : undefined)
}

/** Changes one file of a root and makes several calls on it. @returns the first violation */
async function mutateRoot(root: string, random: () => number): Promise<string | undefined> {
  rmSync(root, { recursive: true, force: true })
  const store = await openStore({ root, driver: 'vfs' })
  const archive = join(root, 'archive.tar')
  writeFileSync(archive, dockerArchive([tar(file('a', 'x'), symlink('b', 'a'))], [0]))
  await store.load(archive)
  await (await store.createContainer('hostile:1', { name: 'box' })).unmount().catch(() => undefined)
  await store.close()
  const names = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => /repositories\.json|imagedb|layerdb|containers.*json$/.test(path))
    .toSorted()
  const path = pick(names, random)
  const before = readFileSync(path)
  const bytes = random() < 0.4 ? Buffer.from(pick(HOSTILE_TEXTS, random)) : mutated(before, before, random)
  writeFileSync(path, bytes)
  const complaint = await outcome(async () => {
    const opened = await openStore({ root, driver: 'vfs' })
    try {
      await opened.images()
      await opened.containers()
      await opened.inspect('hostile:1')
      await opened.check()
      await opened.openContainer('box')
    } finally {
      await opened.close()
    }
  })
  return (
    complaint &&
    `${path.slice(root.length)} as ${JSON.stringify(bytes.toString('latin1').slice(0, 300))}: ${complaint}`
  )
}

/** `undefined` for a result or a StoreError within the time. */
async function outcome(work: () => Promise<unknown>): Promise<string | undefined> {
  const cpu = process.cpuUsage()
  const start = performance.now()
  const error: unknown = await work().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  const { user, system } = process.cpuUsage(cpu)
  const seconds = Math.min((performance.now() - start) / 1000, (user + system) / 1e6)
  if (seconds > MAX_SECONDS) return `took ${seconds.toFixed(1)} s`
  if (error === undefined || (error as Error).name === 'StoreError') {
    const { code, cause, message } = (error ?? {}) as { code?: string; cause?: unknown; message?: string }
    return code === 'SYSTEM' ? `SYSTEM: ${message} (${String(cause)})` : undefined
  }
  return (error as Error).stack ?? String(error)
}

function corpusOfArchives(): Buffer[] {
  const layers = [...oddLayers, ...refusedLayers].map(({ layers: all }) => all.at(-1) as Buffer)
  const small = layers.filter(({ length }) => length < 20_000)
  return [
    ...small.map((layer) => dockerArchive([layer], [0])),
    gzipSync(dockerArchive([tar(gnuLong('L', 'n'.repeat(300)), file('x'))], [0])),
    dockerArchive([gzipSync(tar(pax([['path', 'p']]), file('x')))], [0]),
    ...readdirSync(CORPUS).map((name) => readFileSync(new URL(name, CORPUS))),
  ]
}

const HOSTILE_TEXTS = [
  ...['', '{}', '[]', 'null', '5', '"x"', '{"Repositories":null}', '{"Repositories":{"x":null}}', '../../..'],
  ...[
    '{"__proto__":{"x":1}}',
    '{"Repositories":{"__proto__":{"constructor:1":"sha256:0"}}}',
    '['.repeat(100_000),
  ],
  ...[`sha256:${'0'.repeat(64)}`, '9'.repeat(400), '\0'.repeat(100), '{"name":"../x","id":1}', '-1', '1e5'],
] as const

function texts(random: () => number): string[] {
  const alphabet = [
    ...'aZ0._-/:@[]%\0 ü',
    '__proto__',
    'constructor',
    'sha256:',
    'localhost',
    '127.0.0.1:5000/',
    'a'.repeat(200),
  ]
  return Array.from({ length: 20 }, () =>
    Array.from({ length: Math.trunc(random() * 8) }, () => pick(alphabet, random)).join(''),
  )
}

const NUMBERS = [
  '0',
  '-1',
  '7777777',
  '99999999',
  '\x80\0\0\0\0\0\0\0',
  '\xff\xff\xff\xff\xff\xff\xff\xff',
  '0x1f',
  ' +5 ',
]

/** Makes one to four changes: bytes, numbers, cuts, pieces of `other`. Mostly corrects header checksums afterwards. */
function mutated(bytes: Buffer, other: Buffer, random: () => number): Buffer {
  let result = Buffer.from(bytes)
  const at = (length = result.length) => Math.trunc(random() * length)
  for (let left = 1 + at(4); left > 0 && result.length > 0; left--) {
    const position = at()
    const kind = at(6)
    if (kind === 0) result[position] = at(256)
    else if (kind === 1) result.write(pick(NUMBERS, random), position, 'latin1')
    else if (kind === 2) result = result.subarray(0, position)
    else if (kind === 3)
      result = Buffer.concat([result.subarray(0, position), other.subarray(at(other.length))])
    else if (kind === 4) result[position] = (result[position] as number) ^ (1 << at(8))
    else if (position + 512 <= result.length) {
      const block = position - (position % 512)
      result.write(
        pick(NUMBERS, random),
        block + pick([100, 108, 116, 124, 136, 156, 329, 337, 386, 483], random),
        'latin1',
      )
    }
  }
  return random() < 0.8 ? withChecksums(result) : result
}

/** Corrects the checksums of headers, so that readers get past them. */
function withChecksums(bytes: Buffer): Buffer {
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue
    bytes.fill(0x20, at + 148, at + 156)
    let sum = 0
    for (let offset = at; offset < at + 512; offset++) sum += bytes[offset] as number
    bytes.write(`${sum.toString(8).padStart(6, '0')}\0`, at + 148, 'latin1')
  }
  return bytes
}

function pick<T>(items: readonly T[], random: () => number): T {
  return items[Math.trunc(random() * items.length)] as T
}

function kept(bytes: Buffer): string {
  const directory = join(process.env['TORTURE_FOUND'] ?? '', 'found')
  if (process.env['TORTURE_FOUND'] === undefined) return `base64 ${bytes.toString('base64').slice(0, 2000)}`
  mkdirSync(directory, { recursive: true })
  const path = join(directory, `${Date.now()}-${bytes.length}`)
  writeFileSync(path, bytes)
  return path
}

function prototypes(): string {
  return [Object, Object.prototype, Function.prototype, Array.prototype, Map.prototype]
    .map((value) => Object.getOwnPropertyNames(value).join())
    .join(' ')
}
