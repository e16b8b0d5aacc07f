import { layerFs } from '#layerstack/fs/facade/layer-fs-adapter.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import type { AttributeMode } from '#layerstack/fs/spec.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { describeTree } from '../tree-lines.js'
import { OverlayFixture } from '../overlay-fixture.js'
import { bytes, LAYER_NAMES, OLD_NS, type LayerName } from '../union-layers.js'
import { other, type Build } from './objects.js'
import type { At, PosixFs } from './operation.js'
import { systemCalls, withRoot } from './process-root.js'
import type { Case } from './table.js'

/** The result of a case. */
export interface Answer {
  /** The result of the calls as JSON, or the error. */
  readonly outcome: string
  /** The case's directory afterwards, one line per object. */
  readonly tree: readonly string[]
  /** What the upper directory has and hides; empty without layers. */
  readonly marks: readonly string[]
}

export type Answers = ReadonlyMap<string, Answer>

/** Answers of the kernel, in a process whose root is an overlay. */
export async function kernelAnswers(cases: readonly Case[]): Promise<Answers> {
  using fixture = layersOf(cases)
  const mounted = fixture.mount({ volatile: true })
  return await answersOf(cases, {
    run: (each) => withRoot(mounted.hostPath, () => each(systemCalls)),
    raw: mounted,
    done: () => fixture.unmount(),
    fixture,
  })
}

/** Answers of a `LayerFs` over the kernel's overlay. */
export async function mountAnswers(cases: readonly Case[]): Promise<Answers> {
  using fixture = layersOf(cases)
  const raw = fixture.mount({ volatile: true })
  const shared = new HostFs({ ...raw.spec, shared: true })
  return await answersOf(cases, {
    run: (each) => each(layerFs(shared)),
    raw,
    done: () => {
      shared.close()
      fixture.unmount()
    },
    fixture,
  })
}

/** Answers of a `LayerFs` over a `UnionFs`. */
export async function unionAnswers(cases: readonly Case[], attributes: AttributeMode): Promise<Answers> {
  using fixture = layersOf(cases, attributes)
  const raw = fixture.union()
  return await answersOf(cases, { run: (each) => each(layerFs(raw)), raw, fixture })
}

/** Answers of a `LayerFs` over a single directory that stands for all layers. */
export async function directoryAnswers(cases: readonly Case[], raw: SyncFs): Promise<Answers> {
  for (const [number, each] of cases.entries()) buildCase({ low: raw, mid: raw, upper: raw }, number, each)
  return await answersOf(cases, { run: (each) => each(layerFs(raw)), raw })
}

interface Asked {
  readonly run: (work: (fs: PosixFs) => Promise<void>) => Promise<void>
  readonly raw: SyncFs
  readonly done?: () => void
  readonly fixture?: OverlayFixture
}

async function answersOf(cases: readonly Case[], { run, raw, done, fixture }: Asked): Promise<Answers> {
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
  const below = fixture?.below('upper')
  return new Map(
    cases.map(({ name }, number) => {
      const marks = fixture?.marks(directoryOf(number), below).map(alike) ?? []
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

function layersOf(cases: readonly Case[], attributes?: AttributeMode): OverlayFixture {
  const fixture = new OverlayFixture(attributes)
  for (const [number, each] of cases.entries()) buildCase(fixture.layers, number, each)
  fixture.setTimes()
  return fixture
}

/** Makes the directory of a case in each layer that has part of an object. The lowest layer also has a file `other`. */
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

/** All names have the same length, because a symlink's size may depend on it. */
function directoryOf(number: number): ByteString {
  return bytes(`c${String(number).padStart(5, '0')}`)
}

function alike(text: string): string {
  return text.replaceAll(/\bc\d{5}\b/g, 'c')
}
