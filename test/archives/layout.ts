import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { digestOf, imageOf } from '../store/archive.js'

export const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
export const LAYER = 'application/vnd.oci.image.layer.v1.tar'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: object
  readonly annotations?: object | null
}

/** Builds an OCI layout by hand, so it can be invalid in any way. */
export class Layout {
  readonly path: string

  constructor(path: string) {
    this.path = path
    mkdirSync(join(path, 'blobs/sha256'), { recursive: true })
    writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  }

  blob(content: Buffer | object, mediaType: string, fields: object = {}): Descriptor {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
    const digest = digestOf(bytes)
    writeFileSync(this.file(digest), bytes)
    return { mediaType, digest, size: bytes.length, ...fields }
  }

  /** @param blobs descriptors of the layers, if their blobs are not the tars themselves */
  image(layers: readonly Buffer[], fields: object = {}, blobs?: readonly Descriptor[]): Descriptor {
    const own = (fields as { platform?: object }).platform
    const config = { ...JSON.parse(imageOf(layers).config.toString()), ...own }
    const manifest = {
      schemaVersion: 2,
      config: this.blob(config, 'application/vnd.oci.image.config.v1+json'),
      layers: blobs ?? layers.map((layer) => this.blob(layer, LAYER)),
    }
    return this.blob(manifest, MANIFEST, fields)
  }

  nested(manifests: readonly unknown[], fields: object = {}): Descriptor {
    return this.blob({ schemaVersion: 2, mediaType: INDEX, manifests }, INDEX, fields)
  }

  index(document: unknown): string {
    writeFileSync(join(this.path, 'index.json'), JSON.stringify(document))
    return this.path
  }

  file(digest: string): string {
    return join(this.path, 'blobs', digest.replace(':', '/'))
  }
}

export function platform(architecture: string, variant?: string): { platform: object } {
  return { platform: { os: 'linux', architecture, ...(variant !== undefined && { variant }) } }
}

export function named(name: string): { annotations: object } {
  return { annotations: { 'io.containerd.image.name': name } }
}
