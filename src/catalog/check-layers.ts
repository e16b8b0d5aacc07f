import { availableParallelism } from 'node:os'
import pLimit from 'p-limit'
import type { ChainID, DiffID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { Examination, LayerPlace, LayerUpkeep } from '../layers/layer-upkeep.js'
import { knownPlaces, type CatalogCheckOptions, type Findings } from './repair.js'

type Places = ReadonlyMap<ChainID, LayerPlace>

/** Examines all layers, lowest first, so that a layer is compared with an intact or repaired parent. */
export async function checkLayers(findings: Findings): Promise<number> {
  const { catalog, options } = findings
  const { upkeep } = catalog.layers
  const places = await placesOf(findings)
  const ids = lowestFirst(await catalog.layers.chainIds(), places)
  const lost = await lostLayers(findings, ids, places)
  // Top layers first: a layer cannot be removed while another one stands on it.
  for (const [id, { detail, unfounded, examination }] of [...lost].toReversed()) {
    const kind = unfounded ? 'layer-unfounded' : 'layer-damaged'
    await findings.report({ kind, id }, detail, [], () => upkeep.discard(examination))
  }
  if (options.content !== false) {
    for (const { path, layer, detail } of await upkeep.driverDamage(options)) {
      await findings.report({ kind: 'driver-damaged', id: layer ?? path }, `${path}: ${detail}`)
    }
  }
  return ids.length
}

/** Call it last: a repaired entry may name a layer that looked like an orphan. */
export async function checkOrphans(findings: Findings): Promise<void> {
  const { orphans } = findings.catalog.layers
  for (const id of await orphans.list()) {
    const remove = (): Promise<void> => orphans.remove(id)
    await findings.report({ kind: 'driver-orphan', id }, 'no layer or container references it', [remove])
  }
}

async function lostLayers(
  findings: Findings,
  ids: readonly ChainID[],
  places: Places,
): Promise<Map<ChainID, Loss>> {
  const lost = new Map<ChainID, Loss>()
  await using early = new EarlyExaminations(findings.catalog.layers.upkeep, ids, findings.options)
  for (const id of ids) {
    findings.options.signal?.throwIfAborted()
    const loss = await examined(findings, id, { places, lost, early })
    if (loss !== undefined) lost.set(id, loss)
  }
  return lost
}

/**
 * Examines layers concurrently, before it is known whether a repair changes the layers below them. A clean result is valid
 * unless a layer below has faults.
 */
class EarlyExaminations implements AsyncDisposable {
  readonly #examinations: ReadonlyMap<ChainID, Promise<Examination | undefined>>
  readonly #stop = new AbortController()
  /** Layers with faults, and the layers on them. */
  readonly #affected = new Set<ChainID>()

  constructor(upkeep: LayerUpkeep, ids: readonly ChainID[], options: CatalogCheckOptions) {
    const limit = pLimit(availableParallelism())
    const { signal: stop } = this.#stop
    const signal = options.signal === undefined ? stop : AbortSignal.any([options.signal, stop])
    const examine = (id: ChainID): Promise<Examination | undefined> =>
      upkeep.examine(id, { content: options.content, signal })
    this.#examinations = new Map(ids.map((id) => [id, limit(examine, id)]))
    // Rejections reach the caller through `of`.
    for (const examination of this.#examinations.values()) examination.catch(() => undefined)
  }

  /** Ask for parents first. @returns `undefined` for a layer that must be examined again */
  async of(id: ChainID, parent: ChainID | undefined): Promise<Examination | undefined> {
    const isAffected = parent !== undefined && this.#affected.has(parent)
    const examination = isAffected ? undefined : await this.#examinations.get(id)
    if (examination?.faults.length === 0) return examination
    this.#affected.add(id)
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.allSettled(this.#examinations.values())
  }
}

/** A layer that is damaged, or stands on a damaged one, and could not be repaired. */
interface Loss {
  readonly detail: string
  readonly unfounded: boolean
  readonly examination: Examination
}

interface CheckUnderWay {
  readonly places: Places
  readonly lost: ReadonlyMap<ChainID, Loss>
  readonly early: EarlyExaminations
}

async function examined(
  findings: Findings,
  id: ChainID,
  { places, lost, early }: CheckUnderWay,
): Promise<Loss | undefined> {
  const { catalog, options } = findings
  const place = places.get(id)
  const parent = place?.parent
  const isFounded = parent === undefined || (!lost.has(parent) && (await isHere(findings, parent, places)))
  // Without an intact parent, comparing the content proves nothing.
  const content = isFounded && options.content !== false
  const found = isFounded ? await early.of(id, parent) : undefined
  const examination = found ?? (await catalog.layers.upkeep.examine(id, { ...options, content }))
  if (examination === undefined) return undefined
  if (!isFounded)
    return { detail: `its parent ${parent} is damaged or missing`, unfounded: true, examination }
  if (examination.faults.length === 0) return undefined
  const detail = examination.faults.join('; ')
  if (place === undefined || !(await findings.mended(remedies(findings, examination, place)))) {
    return { detail, unfounded: false, examination }
  }
  findings.problems.push({ kind: 'layer-damaged', id, detail, repaired: true })
  return undefined
}

function remedies(findings: Findings, examination: Examination, place: LayerPlace) {
  const { catalog, options, source } = findings
  const { upkeep } = catalog.layers
  return [
    () => upkeep.mend(examination, place, options),
    async () => {
      const layer = source?.layer(place.diffId)
      if (layer === undefined) throw missing(place.diffId)
      await upkeep.rebuild(examination, place, layer)
    },
  ]
}

/** Whether the layer exists. If the check repairs, unpacks a missing layer from the source. */
async function isHere(findings: Findings, id: ChainID, places: Places): Promise<boolean> {
  const { layers } = findings.catalog
  if ((await layers.chainIds()).includes(id)) return true
  return findings.mended([
    async () => {
      const place = places.get(id)
      const layer = place && findings.source?.layer(place.diffId)
      if (place === undefined || layer === undefined) throw missing(place?.diffId ?? id)
      const { parent, diffId } = place
      if (parent !== undefined && !(await isHere(findings, parent, places)))
        throw missing(places.get(parent)?.diffId ?? parent)
      const { signal } = findings.options
      await layers.register(layer.source, { parent, expected: diffId, blob: layer.blob, signal })
    },
  ])
}

/** From the layerdb's entries. Images tell the places of layers with damaged entries. */
async function placesOf(findings: Findings): Promise<Map<ChainID, LayerPlace>> {
  const { layers } = findings.catalog
  const places = await knownPlaces(findings)
  for (const id of await layers.chainIds()) {
    const layer = await layers.get(id).catch(() => undefined)
    if (layer !== undefined) places.set(id, layer)
  }
  return places
}

function lowestFirst(ids: readonly ChainID[], places: Places): ChainID[] {
  const depths = new Map<ChainID, number>()
  const depthOf = (id: ChainID | undefined): number => {
    if (id === undefined) return 0
    const known = depths.get(id)
    if (known !== undefined) return known
    const depth = 1 + depthOf(places.get(id)?.parent)
    depths.set(id, depth)
    return depth
  }
  return ids.toSorted((one, other) => depthOf(one) - depthOf(other))
}

/** @param layer its DiffID, or its ChainID if no image or entry names its DiffID */
function missing(layer: DiffID | ChainID): StoreError {
  return new StoreError('LAYER_MISSING', `the source has no layer ${layer}`)
}
