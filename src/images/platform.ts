import { endianness } from 'node:os'

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string | undefined
}

/** Parses `linux/arm64` or `linux/arm/v7`. */
export function parsePlatform(text: string): Platform {
  const [os = '', architecture = '', variant, ...rest] = text.split('/')
  if (os !== '' && architecture !== '' && variant !== '' && rest.length === 0) {
    return { os, architecture, variant }
  }
  throw new TypeError(`invalid platform: ${JSON.stringify(text)} (examples: linux/amd64, linux/arm/v7)`)
}

/** The platform of this machine's containers: Linux, whatever the machine itself runs. */
export function machinePlatform(): Platform {
  return { os: 'linux', architecture: GO_NAMES[process.arch] ?? process.arch }
}

export function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/')
}

/** Without a wanted variant, every variant matches. */
export function isPlatform(offered: Platform, wanted: Platform): boolean {
  return (
    offered.os === wanted.os &&
    offered.architecture === wanted.architecture &&
    (wanted.variant === undefined || offered.variant === wanted.variant)
  )
}

const GO_NAMES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: endianness() === 'LE' ? 'ppc64le' : 'ppc64',
  mipsel: 'mipsle',
}
