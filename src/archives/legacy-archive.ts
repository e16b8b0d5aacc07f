import { chainIds, sha256, type ChainID, type DiffID } from '../digest.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { OperationOptions } from '../operation-options.js'
import { familiarName, familiarText } from '../references/reference.js'
import { verified, type SavedImage } from './saved-image.js'
import { writeJson, writeText, type Sink } from './sink.js'
import { v1Images } from './v1-image.js'

/**
 * Writes a docker-archive as Docker did before version 25:
 *
 *     <v1 id>/{VERSION,json,layer.tar}    a layer; a symlink if one with its DiffID was written before
 *     <image id>.json                     an image's config
 *     manifest.json                       the layers and names of each config
 *     repositories                        the top layer of each name
 */
export async function writeLegacyArchive(
  layers: LayerStore,
  images: readonly SavedImage[],
  sink: Sink,
  options: OperationOptions,
): Promise<void> {
  const written = new Map<DiffID, string>()
  const directories = new Set<string>()
  const manifest: object[] = []
  const repositories = new Map<string, Map<string, string>>()
  for (const { config, configBytes, references } of images) {
    const diffIds = config.rootfs.diff_ids
    const chain = chainIds(diffIds)
    const v1 = v1Images(config, chain)
    for (const [index, { id, json }] of v1.entries()) {
      options.signal?.throwIfAborted()
      if (directories.has(id)) continue
      directories.add(id)
      const diffId = diffIds[index] as DiffID
      await sink.directory(id)
      await writeText(sink, `${id}/VERSION`, '1.0')
      await writeText(sink, `${id}/json`, json)
      const twin = written.get(diffId)
      if (twin === undefined)
        await writeLayer(layers, chain[index] as ChainID, diffId, `${id}/layer.tar`, sink, options)
      else await sink.symlink(`${id}/layer.tar`, `../${twin}/layer.tar`)
      written.set(diffId, twin ?? id)
    }
    const name = `${sha256(configBytes).slice('sha256:'.length)}.json`
    if (!directories.has(name)) await sink.file(name, configBytes.length, configBytes)
    directories.add(name)
    const top = v1.at(-1)?.id
    for (const reference of references) {
      if (top === undefined) continue
      const repository = familiarName(reference)
      const tags = repositories.get(repository) ?? new Map<string, string>()
      repositories.set(repository, tags.set(reference.tag ?? '', top))
    }
    manifest.push({
      Config: name,
      RepoTags: references.length === 0 ? null : references.map(familiarText),
      Layers: v1.map(({ id }) => `${id}/layer.tar`),
    })
  }
  await writeJson(sink, 'manifest.json', manifest)
  if (repositories.size === 0) return
  const byName = [...repositories].map(([name, tags]) => [name, Object.fromEntries(tags)])
  await writeJson(sink, 'repositories', Object.fromEntries(byName))
}

async function writeLayer(
  layers: LayerStore,
  chain: ChainID,
  diffId: DiffID,
  name: string,
  sink: Sink,
  options: OperationOptions,
): Promise<void> {
  const size = await layers.tarSize(chain)
  await sink.file(name, size, verified(layers.tarStream(chain), diffId, size, options))
}
