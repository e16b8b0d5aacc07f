/** Reasons why judges unpack other trees from odd layers. The docs number them in this order. */
export const reasons = {
  ownClock:
    'A directory that the layer does not tell of gets the time of the unpacking, be it made for its children or changed. Here it keeps the time of the lower one, or is of 1970: the same layer makes the same tree each time.',
  mode600: "dockerd's vfs makes such a directory with mode 0600, and the time of the unpacking.",
  shadowedParent:
    "dockerd's overlay2 unpacks into an empty directory: a parent without an entry is made anew there, root's, 0755, and shadows mode, owner and xattrs of the lower one (image-spec#970).",
  upperAlone:
    "dockerd's overlay2 unpacks into an empty directory: a symlink of the layer to a lower directory leads nowhere there.",
  linkToLower:
    'The overlay drivers unpack into an empty directory: a hard link finds nothing of lower layers there.',
  inOrder:
    'The overlay drivers make the whiteout where it stands, as a device, and fail since the layer has the name already.',
  removesOwn:
    'A whiteout removes whatever is there when its turn comes, also what its own layer brought; for a directory the time of which is set at the end, that ends in an error.',
  notOpaque:
    'The directory takes the place of the whiteout and is not opaque: the children of the lower one show again.',
  belowDevice: 'The whiteout is a device by then, and nothing can be made below it.',
  umociClears:
    'umoci keeps what the layer brought and removes what is beside it: the lower directory stays, and the time of each one that is cleared is that of the unpacking.',
  impliedByWhiteout: 'The directory of a whiteout is made for it, although a whiteout beside hides it.',
  belowFile: 'A whiteout below what is a file in a lower layer is an error.',
  deadWhiteout:
    'The whiteout device is made although there is nothing to hide. In a directory that merges with no lower one the kernel lists it, and does not find it.',
  lowerSymlink:
    'The symlink of the lower layer is followed: what the layer says of one path happens at another. Where it leads to nothing, that is made, or is an error.',
  fileParent: 'A lower file in the place of a directory is an error, not replaced.',
  danglingParent:
    'A symlink of the layer that leads to nothing is an error when something is put through it.',
  deviceHides: 'The device 0:0 is made, and overlayfs takes it for a whiteout: the lower file is gone.',
  deviceMade: 'The device 0:0 is made as any other. On an overlay it would hide the lower file.',
  opaqueRoot: 'The mark is set on the root, where the kernel takes no notice of it: nothing is hidden.',
  aufsParts:
    'Directories and files of AUFS are passed over by some of their names only, or not at all, and directories are made for them.',
  aufsDevices:
    "dockerd's overlay2 takes AUFS' names for whiteouts of `.wh.aufs` and the like, and makes them.",
  pseudoShown: 'The pseudo-links are unpacked as files that show.',
  pseudoCopies:
    "dockerd's vfs makes a copy for each link, and leaves the directory of the pseudo-links behind.",
  linkAttributes:
    'Mode, owner and time in the header of a hard link are given to the file, which is all its names; with them a layer that only adds a name changes a lower file.',
  linkToItself: 'What is at the place of a link is removed first, and its target with it.',
  namedTwice: 'dockerd refuses a layer that names a path twice: its tar-split cannot hold it.',
  xattrsStay: 'xattrs that an earlier entry or a lower layer gave to the directory stay.',
  vfsXattrs: "dockerd's vfs loses xattrs but file capabilities when it copies the lower layer.",
  nativeTimes:
    "containerd's native snapshotter copies the lower layer, and directories get the time of the copy.",
  rootEntry: 'The entry is applied to the root of the tree.',
  before1970: 'Times before 1970 become 1970, in containerd those of symlinks, too.',
  devicesOfGo: "Go's archive/tar reads device numbers of the block alone.",
  emptyXattr:
    "Go's archive/tar takes an xattr without a value for none; containerd reads the records itself.",
  escapedXattr: "Go's archive/tar takes names of xattrs as they stand: what GNU tar escapes stays escaped.",
  libarchive: "Go's archive/tar reads xattrs of star alone.",
  overlayXattrs: "dockerd's overlay2 sets overlayfs' xattrs from the tar: the lower directory is hidden.",
  refusedXattr: 'An xattr that the file system does not take is an error.',
  oldSparse:
    "Sparse files of old GNU are an unknown type to those who unpack, though Go's archive/tar reads them.",
  unknownTypes: 'An entry of an unknown type is an error.',
  globalUnknown: 'A global PAX header is an entry of an unknown type, and an error.',
  globalParent: 'The global headers are passed over, and the directory in their name is made.',
} as const
