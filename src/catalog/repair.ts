import type { ChainID, ImageID } from '../digest.js'
import { chainIds, type DiffID } from '../digest.js'
import { isAbort } from '../errors.js'
import type { LayerPlace, LayerSource } from '../layers/layer-upkeep.js'
import type { OperationOptions } from '../operation-options.js'
import type { Catalog } from './catalog.js'

export interface CheckOptions extends OperationOptions {
  /**
   * Reads every layer back: its tar is compared with its DiffID, and its tree with the tree that its tar describes.
   * @default true
   */
  readonly content?: boolean | undefined
  /**
   * Mends what can be mended without losing anything: damaged records, leftovers that nothing names, names of images that
   * are not here. Layers and configs that are damaged themselves need `from` or `discard`. @default false
   */
  readonly repair?: boolean | undefined
  /**
   * With `repair`: removes damaged layers, configs and containers that cannot be mended, unless a container stands on
   * them. Loading the image again then brings new ones. @default false
   */
  readonly discard?: boolean | undefined
}

/** Something that is not as it should be. `repaired`: it is mended, or it is gone. */
export type Problem = ProblemKind & { readonly detail: string; readonly repaired: boolean }

export type ProblemKind =
  /** The layer's files do not give the bytes of its DiffID, its tree is not the one of its tar, or its entry is damaged. */
  | { readonly kind: 'layer-damaged'; readonly id: ChainID }
  /** The layer stands on one that is damaged or missing. */
  | { readonly kind: 'layer-unfounded'; readonly id: ChainID }
  /** The driver keeps a layer that nothing names. */
  | { readonly kind: 'driver-orphan'; readonly id: string }
  /** A file of the driver is damaged. The layers in it have problems of their own. Not repaired. */
  | { readonly kind: 'driver-damaged'; readonly id: string }
  /** The bytes of the image's config do not have the digest that is its ID. */
  | { readonly kind: 'image-damaged'; readonly id: ImageID }
  /** Some of the image's layers are missing. */
  | { readonly kind: 'image-incomplete'; readonly id: ImageID }
  /** The reference points at no image. Repaired, it is gone. */
  | { readonly kind: 'reference-dangling'; readonly id: string }
  /** The list of references cannot be read. Repaired, it is empty: images stay, their names are lost. */
  | { readonly kind: 'references-damaged'; readonly id: string }
  /**
   * The container's writable layer is missing, its entry or its record is damaged, or it cannot be opened. A container
   * without a readable record gets another one, under its ID as the name.
   */
  | { readonly kind: 'container-damaged'; readonly id: string }

/** Layers and configs that a repair can take: those of an archive. */
export interface RepairSource {
  layer(diffId: DiffID): LayerSource | undefined
  /** The chains of all images. */
  readonly chains: readonly (readonly DiffID[])[]
  /** The config's bytes, which have the digest `id`. */
  config(id: ImageID): Uint8Array | undefined
}

/** One way to mend a problem. Rejecting means that the way is closed, and the next one is tried. */
export type Remedy = () => Promise<unknown>

/** Collects what a check finds, and mends it at once where the caller asks for that. */
export class Findings {
  readonly catalog: Catalog
  readonly options: CheckOptions
  readonly source: RepairSource | undefined
  readonly problems: Problem[] = []

  constructor(catalog: Catalog, options: CheckOptions, source: RepairSource | undefined) {
    this.catalog = catalog
    this.options = options
    this.source = source
  }

  /** Whether one of the remedies helped. None is tried unless the check repairs. */
  async mended(remedies: readonly Remedy[]): Promise<boolean> {
    return this.options.repair === true && (await firstOf(remedies))
  }

  /**
   * @param remedies in the order of trying; none loses anything that is whole
   * @param discard loses the damaged thing, and so is done only where the caller allows it
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

/** What ChainIDs stand for, as far as images that can be read tell. */
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
