import type { ChainID, ImageID } from '../digest.js'
import { chainIds, type DiffID } from '../digest.js'
import { isAbort } from '../errors.js'
import type { LayerPlace, LayerSource } from '../layers/layer-upkeep.js'
import type { OperationOptions } from '../operation-options.js'
import type { Catalog } from './catalog.js'

/** Options of {@link Store.check} that need no archive. */
export interface CatalogCheckOptions extends OperationOptions {
  /**
   * Reads every layer: compares its tar with its DiffID, and its tree with the tree that the tar describes. Also reads
   * all of the driver's own files.
   * @default true
   */
  readonly content?: boolean | undefined
  /**
   * Repairs what it can without losing data: damaged records, orphans, and names of missing images. Damaged layers and
   * configs need `from` or `discard`.
   * @default false
   */
  readonly repair?: boolean | undefined
  /**
   * With `repair`: removes damaged layers, the layers on them, and damaged configs and containers, if they cannot be
   * repaired. Layers that a container is based on stay. Loading the image again then replaces what was removed.
   * @default false
   */
  readonly discard?: boolean | undefined
}

/**
 * A problem that a check found. `detail` describes it in a clause without a full stop. If `repaired`, it was repaired,
 * or the damaged thing was removed.
 */
export type Problem = ProblemKind & { readonly detail: string; readonly repaired: boolean }

/** The kind of a problem, and the id of the damaged thing. */
export type ProblemKind =
  /** The layer's files do not give the bytes of its DiffID, its tree differs from its tar, or its entry is damaged. */
  | { readonly kind: 'layer-damaged'; readonly id: ChainID }
  /** The layer is based on one that is damaged or missing. */
  | { readonly kind: 'layer-unfounded'; readonly id: ChainID }
  /** The driver keeps a layer that nothing references. The repair removes it. `id` is the id in the driver. */
  | { readonly kind: 'driver-orphan'; readonly id: string }
  /** A file of the driver is damaged. Not repaired. `id` is the layer in the driver, or else the path of the file. */
  | { readonly kind: 'driver-damaged'; readonly id: string }
  /** The config's bytes do not match the image ID. */
  | { readonly kind: 'image-damaged'; readonly id: ImageID }
  /** Some of the image's layers are missing. */
  | { readonly kind: 'image-incomplete'; readonly id: ImageID }
  /** The reference points at no image. The repair removes it. */
  | { readonly kind: 'reference-dangling'; readonly id: string }
  /** The list of references is unreadable. The repair empties it: images stay and lose their names. */
  | { readonly kind: 'references-damaged'; readonly id: string }
  /**
   * The container's writable layer is missing, its entry or record is damaged, or it cannot be opened. The repair
   * writes a new record for a container without a readable one, and names it after its id.
   */
  | { readonly kind: 'container-damaged'; readonly id: string }

/** An archive's layers and configs, for a repair. */
export interface RepairSource {
  layer(diffId: DiffID): LayerSource | undefined
  /** The chains of all images. */
  readonly chains: readonly (readonly DiffID[])[]
  /** The config's bytes. Their digest is `id`. */
  config(id: ImageID): Uint8Array | undefined
}

/** One way to repair a problem. If it rejects, the next one is tried. */
export type Remedy = () => Promise<unknown>

/** Collects the problems that a check finds, and repairs each at once if the caller asked for it. */
export class Findings {
  readonly catalog: Catalog
  readonly options: CatalogCheckOptions
  readonly source: RepairSource | undefined
  readonly problems: Problem[] = []

  constructor(catalog: Catalog, options: CatalogCheckOptions, source: RepairSource | undefined) {
    this.catalog = catalog
    this.options = options
    this.source = source
  }

  /** Whether a remedy succeeded. Tries none unless the check repairs. */
  async mended(remedies: readonly Remedy[]): Promise<boolean> {
    return this.options.repair === true && (await firstOf(remedies))
  }

  /**
   * @param remedies in order of preference; none loses intact data
   * @param discard removes the damaged thing, and so runs only if the caller allows it
   * @returns whether the problem is repaired
   */
  async report(
    kind: ProblemKind,
    detail: string,
    remedies: readonly Remedy[] = [],
    discard?: Remedy,
  ): Promise<boolean> {
    const all = discard !== undefined && this.options.discard === true ? [...remedies, discard] : remedies
    const repaired = await this.mended(all)
    this.problems.push({ ...kind, detail, repaired })
    return repaired
  }
}

async function firstOf(remedies: readonly Remedy[]): Promise<boolean> {
  for (const remedy of remedies) {
    try {
      await remedy()
      return true
    } catch (error) {
      if (isAbort(error)) throw error
    }
  }
  return false
}

/** The layers that ChainIDs identify, according to the readable images. */
export async function knownPlaces({ catalog, source }: Findings): Promise<Map<ChainID, LayerPlace>> {
  const places = new Map<ChainID, LayerPlace>()
  const add = (diffIds: readonly DiffID[]): void => {
    const chain = chainIds(diffIds)
    for (const [index, chainId] of chain.entries()) {
      places.set(chainId, { chainId, diffId: diffIds[index] as DiffID, parent: chain[index - 1] })
    }
  }
  for (const diffIds of source?.chains ?? []) add(diffIds)
  for (const id of await catalog.images.list()) {
    const config = await catalog.images.config(id).catch(() => undefined)
    if (config !== undefined) add(config.rootfs.diff_ids)
  }
  return places
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
