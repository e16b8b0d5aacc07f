import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { file, tar } from '#layerstack/conformance/odd-layers/raw-tar.js'
import { dockerArchive, hostileArchives } from '../hostile/archives.js'
import type { Attack, AttackReport, Budget } from './attack.js'
import { randomOf } from './random.js'

/** The output of `loading.mjs`. */
interface Loaded {
  readonly name?: string
  readonly code?: string
  readonly message?: string
  readonly seconds: number
  readonly cpuSeconds: number
  readonly megabytes: number
  readonly left: readonly string[]
}

/** The promise is 2 s on an idle processor. CI processors are slow and shared. */
const MAX_SECONDS = 3 * 2
const MAX_MEGABYTES = 200
/** A load is killed after this time. */
const HANG_MS = 60_000
/** The lower of wall-clock and CPU time: ignores other programs, and counts parallel threads once. */
const takes = ({ seconds, cpuSeconds }: Loaded) => Math.min(seconds, cpuSeconds)

/** In `test/hostile`, relative to this source file or to its compiled copy in `test/torture/dist`. */
const LOADING = fileURLToPath(
  new URL(
    import.meta.url.includes('/dist/') ? '../../../hostile/loading.mjs' : '../hostile/loading.mjs',
    import.meta.url,
  ),
)

export const hostileArchivesAttack: Attack = {
  name: 'hostile archives are refused soon and in little memory',
  soaks: true,
  run: attack,
}

async function attack({ seed, scratch, hasTime }: Budget): Promise<AttackReport> {
  const random = randomOf(seed)
  const waiting = hostileArchives.toSorted(() => random.below(3) - 1)
  const violations: string[] = []
  let count = 0
  let slowest = 0
  let largest = 0
  do {
    const archive = waiting[count % waiting.length] as (typeof waiting)[number]
    const loaded = await load(archive.make(), scratch)
    count++
    if (loaded === undefined) {
      violations.push(`${archive.name}: the process died, or took more than ${HANG_MS / 1000} s`)
      continue
    }
    slowest = Math.max(slowest, takes(loaded))
    largest = Math.max(largest, loaded.megabytes)
    violations.push(...complaints(loaded, archive.code).map((complaint) => `${archive.name}: ${complaint}`))
  } while (hasTime())
  return {
    figures: { archives: count, 'ms at most': Math.round(slowest * 1000), 'MB at most': Math.round(largest) },
    violations,
  }
}

function complaints(loaded: Loaded, wanted: string): string[] {
  const found: string[] = []
  if (loaded.name !== 'StoreError') found.push(`${loaded.name ?? 'no error'} ${loaded.message ?? ''}`)
  else if (loaded.code !== wanted) found.push(`${loaded.code} instead of ${wanted}: ${loaded.message}`)
  if (takes(loaded) > MAX_SECONDS) found.push(`took ${takes(loaded).toFixed(1)} s`)
  if (loaded.megabytes > MAX_MEGABYTES) found.push(`took ${Math.round(loaded.megabytes)} MB`)
  if (loaded.left.length > 0) found.push(`left ${loaded.left.join(', ')}`)
  return found
}

async function load(bytes: Buffer, scratch: string): Promise<Loaded | undefined> {
  const directory = join(scratch, 'hostile')
  mkdirSync(directory)
  const [good, hostile] = [join(directory, 'good.tar'), join(directory, 'hostile.tar')]
  writeFileSync(good, dockerArchive([tar(file('f', Buffer.alloc(6 << 20)))], [0]))
  writeFileSync(hostile, bytes)
  try {
    const child = spawn(process.execPath, [LOADING, 'overlay2', 'userspace', directory, good, hostile], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: HANG_MS,
      killSignal: 'SIGKILL',
    })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
    const [code] = (await once(child, 'close')) as [number | null]
    return code === 0 ? (JSON.parse(text) as Loaded) : undefined
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
