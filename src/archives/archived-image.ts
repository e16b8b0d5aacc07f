import type { Digest, ImageID } from '../digest.js'
import type { ImageConfig } from '../images/image-config.js'
import { manifestInvalid, type ConfigDocument } from './documents.js'

/** What one image of an archive claims. Every claim that can be checked without its layers is checked. */
export interface ArchivedImage {
  readonly id: ImageID
  readonly configBytes: Buffer
  readonly config: ImageConfig
  readonly references: readonly string[]
  /** One per DiffID, lowest first. */
  readonly layers: readonly ArchivedLayer[]
}

export interface ArchivedLayer {
  /** Name in the archive. */
  readonly name: string
  /** Digest of the file as stored, if the archive states it. */
  readonly blob: Digest | undefined
}

export function archivedImage(
  { id, bytes, config }: ConfigDocument,
  references: readonly string[],
  layers: readonly ArchivedLayer[],
): ArchivedImage {
  const wanted = config.rootfs.diff_ids.length
  if (layers.length !== wanted) {
    throw manifestInvalid(
      `the manifest lists ${layers.length} layers, but the config of the image lists ${wanted}`,
    )
  }
  return { id, configBytes: bytes, config, references, layers }
}
