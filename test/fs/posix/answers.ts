import { layerFs } from '#layerstack/fs/facade/layer-fs-adapter.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import type { AttributeMode } from '#layerstack/fs/spec.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { describeTree } from '../tree-lines.js'
import { Bench } from '../union-bench.js'
import { bytes, LAYER_NAMES, OLD_NS, type LayerName } from '../union-layers.js'
import { other, type Build } from './objects.js'
import type { At, PosixFs } from './operation.js'
import { systemCalls, withRoot } from './process-root.js'
import type { Case } from './table.js'

/** What came of a case. */
export interface Answer {
  /** What the calls gave, as JSON, or the error. */
  readonly outcome: string
  /** The case's directory afterwards, a line for each object. */
  readonly tree: readonly string[]
  /** What the upper directory has and hides; nothing where there are no layers. */
  readonly marks: readonly string[]
}

export type Answers = ReadonlyMap<string, Answer>

/** What the kernel does for a process whose root is an overlay. */
export async function kernelAnswers(cases: readonly Case[]): Promise<Answers> {
  using bench = layersOf(cases)
  const mounted = bench.mount({ volatile: true })
  return await answersOf(cases, {
    run: (each) => withRoot(mounted.hostPath, () => each(systemCalls)),
    raw: mounted,
    done: () => bench.unmount(),
    bench,
  })
}

/** What a `LayerFs` does over the kernel's overlay. */
export async function mountAnswers(cases: readonly Case[]): Promise<Answers> {
  using bench = layersOf(cases)
  const raw = bench.mount({ volatile: true })
  const shared = new HostFs({ ...raw.spec, shared: true })
  return await answersOf(cases, {
    run: (each) => each(layerFs(shared)),
    raw,
    done: () => {
      shared.close()
      bench.unmount()
    },
    bench,
  })
}

/** What a `LayerFs` does over our own overlay. */
export async function unionAnswers(cases: readonly Case[], attributes: AttributeMode): Promise<Answers> {
  using bench = layersOf(cases, attributes)
  const raw = bench.union()
  return await answersOf(cases, { run: (each) => each(layerFs(raw)), raw, bench })
}

/** What a `LayerFs` does over a directory, in which all layers are one. */
export async function directoryAnswers(cases: readonly Case[], raw: SyncFs): Promise<Answers> {
  for (const [number, each] of cases.entries()) buildCase({ low: raw, mid: raw, upper: raw }, number, each)
  return await answersOf(cases, { run: (each) => each(layerFs(raw)), raw })
}

interface Asked {
  readonly run: (work: (fs: PosixFs) => Promise<void>) => Promise<void>
  readonly raw: SyncFs
  readonly done?: () => void
  readonly bench?: Bench
}

async function answersOf(cases: readonly Case[], { run, raw, done, bench }: Asked): Promise<Answers> {
  const nowNs = BigInt(Date.now() - 1000) * 1_000_000n
  const outcomes: string[] = []
  await run(async (fs) => {
    for (const [number, { operation }] of cases.entries()) {
      const dir = directoryOf(number)
      const at: At = (name) => (name === '' ? `/${dir}` : `/${dir}/${name}`)
      outcomes.push(alike(await outcomeOf(() => operation.run(fs, at))))
    }
  })
  const trees = cases.map((_, number) => describeTree(raw, { nowNs }, directoryOf(number)).map(alike))
  raw.close()
  done?.()
  const below = bench?.below('upper')
  return new Map(
    cases.map(({ name }, number) => {
      const marks = bench?.marks(directoryOf(number), below).map(alike) ?? []
      return [name, { outcome: outcomes[number] as string, tree: trees[number] as string[], marks }]
    }),
  )
}

async function outcomeOf(call: () => Promise<unknown>): Promise<string> {
  try {
    return `ok ${JSON.stringify(await call()) ?? ''}`.trim()
  } catch (error) {
    const { code, syscall, path, dest } = error as NodeJS.ErrnoException & { dest?: string }
    if (code === undefined) throw error
    return [code, syscall, path, dest].filter((word) => word !== undefined).join(' ')
  }
}

function layersOf(cases: readonly Case[], attributes?: AttributeMode): Bench {
  const bench = new Bench(attributes)
  for (const [number, each] of cases.entries()) buildCase(bench.layers, number, each)
  bench.setTimes()
  return bench
}

/** The directory of a case in each layer that takes part: the objects, and in the lowest a file `other` beside them. */
function buildCase(layers: Record<LayerName, SyncFs>, number: number, { objects }: Case): void {
  const at = directoryOf(number)
  const made = new Set<SyncFs>()
  for (const layer of LAYER_NAMES) {
    const builds: [string, Build][] = layer === 'low' ? [['other', other]] : []
    for (const [name, { layers: of }] of Object.entries(objects)) {
      const build = of[layer]
      if (build !== undefined) builds.push([name, build])
    }
    const fs = layers[layer]
    if (builds.length === 0) continue
    if (!made.has(fs)) fs.mkdir(at, 0o755)
    made.add(fs)
    for (const [name, build] of builds) build(fs, bytes(`${at}/${name}`))
    fs.utimes(at, OLD_NS, OLD_NS)
  }
}

/** All as long, since a symlink's size may tell. */
function directoryOf(number: number): ByteString {
  return bytes(`c${String(number).padStart(5, '0')}`)
}

function alike(text: string): string {
  return text.replaceAll(/\bc\d{5}\b/g, 'c')
}
