import { sha256, type ChainID, type Digest } from '../digest.js'
import type { ContainerConfig, ImageConfig } from '../images/image-config.js'

/**
 * How the legacy form of a docker-archive describes each layer: as an image of Docker before 1.10. Docker still
 * computes its id, with `image/v1.CreateID`.
 */
export interface V1Image {
  /** 64 hex digits: the directory of the layer in the archive. */
  readonly id: string
  readonly json: string
}

type Fields = Record<string, unknown>

/** One per layer of the chain, lowest first. Only the last holds the image's own config. */
export function v1Images(config: ImageConfig, chain: readonly ChainID[]): V1Image[] {
  const images: V1Image[] = []
  let parent: Digest | undefined
  for (const [index, chainId] of chain.entries()) {
    const fields =
      index === chain.length - 1
        ? ownFields(config)
        : { created: EPOCH, container_config: containerConfig({}) }
    const id = sha256(
      goJson(sorted({ ...fields, layer_id: chainId, ...(parent !== undefined && { parent }) })),
    )
    const hex = id.slice('sha256:'.length)
    const parentHex = parent?.slice('sha256:'.length)
    const { comment, ...rest } = fields as Fields & { comment?: string }
    images.push({
      id: hex,
      json: goJson({
        id: hex,
        ...(parentHex !== undefined && { parent: parentHex }),
        ...(comment !== undefined && { comment }),
        ...rest,
        os: config.os ?? 'linux',
      }),
    })
    parent = id
  }
  return images
}

const EPOCH = '1970-01-01T00:00:00Z'

/** The fields of Go's `image.V1Image`, in its order, without the empty ones. */
function ownFields(config: ImageConfig): Fields {
  return filled({
    comment: config['comment'],
    created: config.created ?? '0001-01-01T00:00:00Z',
    container: config['container'],
    container_config: containerConfig((config['container_config'] ?? {}) as ContainerConfig),
    docker_version: config['docker_version'],
    author: config.author,
    config: config.config === undefined ? undefined : containerConfig(config.config),
    architecture: config.architecture,
    variant: config.variant,
    os: config.os,
    Size: config['Size'],
  })
}

/** The fields of Go's `container.Config`, in its order. Some are present even when empty. */
function containerConfig(config: ContainerConfig): Fields {
  const value = (name: string, empty: unknown) => config[name] ?? empty
  return {
    Hostname: value('Hostname', ''),
    Domainname: value('Domainname', ''),
    User: value('User', ''),
    AttachStdin: value('AttachStdin', false),
    AttachStdout: value('AttachStdout', false),
    AttachStderr: value('AttachStderr', false),
    ...filled({ ExposedPorts: sorted(config.ExposedPorts) }),
    Tty: value('Tty', false),
    OpenStdin: value('OpenStdin', false),
    StdinOnce: value('StdinOnce', false),
    Env: value('Env', null),
    Cmd: value('Cmd', null),
    ...filled({ Healthcheck: config.Healthcheck, ArgsEscaped: config['ArgsEscaped'] }),
    Image: value('Image', ''),
    Volumes: sorted(config.Volumes) ?? null,
    WorkingDir: value('WorkingDir', ''),
    Entrypoint: value('Entrypoint', null),
    ...filled({ NetworkDisabled: config['NetworkDisabled'], MacAddress: config['MacAddress'] }),
    OnBuild: value('OnBuild', null),
    Labels: sorted(config.Labels) ?? null,
    ...filled({ StopSignal: config.StopSignal, StopTimeout: config['StopTimeout'], Shell: config.Shell }),
  }
}

/** Removes what Go's `omitempty` omits. */
function filled(fields: Fields): Fields {
  const isEmpty = (value: unknown) =>
    value === undefined || value === null || value === '' || value === false || value === 0
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)))
}

function sorted<T extends object | null | undefined>(fields: T): T {
  if (fields === undefined || fields === null) return fields
  return Object.fromEntries(Object.entries(fields).toSorted(([one], [other]) => (one < other ? -1 : 1))) as T
}

/** Go's encoding/json escapes more than JavaScript's. */
function goJson(fields: object): string {
  return JSON.stringify(fields).replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
