"""transferscope: what did transfer learning give you, and where in the network does it sit?"""

__version__ = "0.1.0"
